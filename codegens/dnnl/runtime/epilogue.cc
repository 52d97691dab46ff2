/* What a primitive applies to its result before it is stored, and whose memory the result takes. */
#include <algorithm>

#include "builder.h"

namespace byoc_dnnl {
namespace {

bool Contains(const std::vector<int>& list, int item) { return std::find(list.begin(), list.end(), item) != list.end(); }

}  // namespace

/* Whether nothing needs the buffer's content any more once the current op has added to it. */
bool Builder::MayOverwrite(int buffer, const Arguments& operands) const {
  if (schedule_.buffers[buffer].home != Home::kArena) return false;
  for (const auto& [argument, value] : operands)
    if (value.buffer == buffer) return false;
  const Op& op = program_.ops[current_];
  auto reads = [&](const PostOp& post_op) {
    return post_op.input >= 0 && values_[post_op.input].buffer == buffer;
  };
  if (std::count_if(op.post_ops.begin(), op.post_ops.end(), reads) > 1) return false;
  for (size_t other = 0; other < values_.size(); ++other) {
    if (values_[other].buffer != buffer) continue;
    if (last_use_[other] > current_ || Contains(op.inputs, static_cast<int>(other))) return false;
  }
  return true;
}

/* The second operand of a binary post-op, of the rank of the result (`shape`), which stands for the tensor `whole`. */
Value Builder::PostOperand(const PostOp& post_op, const memory::dims& whole, const memory::dims& shape) {
  Value operand = Computed(post_op.input);
  memory::dims own = operand.desc.get_dims();
  if (own == whole) return Reshaped(operand, shape);
  if (shape.size() < whole.size()) own = {*std::max_element(own.begin(), own.end())};  // one for each column, or one
  own.insert(own.begin(), shape.size() - own.size(), 1);
  return Reshaped(operand, own);
}

Builder::Epilogue Builder::EpilogueOf(const Op& op, const Arguments& operands, const memory::dims& shape) {
  Epilogue result;
  dnnl::post_ops post_ops;
  memory::dims whole = Shape(op.outputs[0]);
  for (const PostOp& post_op : op.post_ops) {
    if (post_op.kind == "eltwise") {
      post_ops.append_eltwise(AlgorithmOf(post_op.algorithm), post_op.alpha, post_op.beta);
      continue;
    }
    Value operand = PostOperand(post_op, whole, shape);
    memory::data_type type = operand.desc.get_data_type();
    bool in_place = post_op.kind == "sum" && result.sum.buffer < 0 && MayOverwrite(operand.buffer, operands) &&
                    (type == Type(op.outputs[0]) || IsStrided(operand.desc));
    if (in_place) {
      post_ops.append_sum(post_op.alpha, static_cast<int>(post_op.beta), type);
      result.sum = operand;
      continue;
    }
    bool scaled = post_op.kind == "sum" && (post_op.alpha != 1 || post_op.beta != 0);
    if (scaled) post_ops.append_eltwise(dnnl::algorithm::eltwise_linear, 1 / post_op.alpha, 0);
    int argument = DNNL_ARG_ATTR_MULTIPLE_POST_OP(post_ops.len()) | DNNL_ARG_SRC_1;
    post_ops.append_binary(AlgorithmOf(post_op.kind == "sum" ? "binary_add" : post_op.algorithm),
                           memory::desc(operand.desc.get_dims(), operand.desc.get_data_type(),
                                        memory::format_tag::any));
    result.operands.push_back({argument, operand});
    if (scaled)
      post_ops.append_eltwise(dnnl::algorithm::eltwise_linear, post_op.alpha, -post_op.alpha * post_op.beta);
  }
  AddScales(op, operands, &result);
  result.attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  result.attributes.set_post_ops(post_ops);
  return result;
}

/* Their original, or they themselves, are about to be overwritten. */
void Builder::ForgetCopies(int buffer) {
  auto stale = [buffer](const auto& copy) { return copy.first.buffer == buffer || copy.second.buffer == buffer; };
  copies_.erase(std::remove_if(copies_.begin(), copies_.end(), stale), copies_.end());
}

/* Where the result goes.  With a sum it is the memory of the tensor added, once that has the result's layout. */
Value Builder::Result(const Epilogue& epilogue, const Make& make, Descriptor* descriptor) {
  memory::desc layout = descriptor->query_md(dnnl::query::exec_arg_md, DNNL_ARG_DST);
  const Value& added = epilogue.sum;
  if (added.buffer < 0) return New(layout);
  ForgetCopies(added.buffer);
  memory::desc own = Retyped(added.desc, layout.get_data_type());
  if (own == layout) return {layout, added.buffer, added.offset};
  Descriptor alternative = make(own, epilogue.attributes);
  if (alternative && std::string(alternative.impl_info_str()) == descriptor->impl_info_str()) {
    *descriptor = alternative;
    return {own, added.buffer, added.offset};
  }
  Value copy = New(Retyped(layout, added.desc.get_data_type()));
  AddCopy(added, copy);
  return {layout, copy.buffer, copy.offset};
}

}  // namespace byoc_dnnl
