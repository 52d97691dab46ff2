#include <algorithm>
#include <optional>
#include <stdexcept>

#include "ops.h"

namespace byoc_dnnl {
namespace {

constexpr auto kInference = dnnl::prop_kind::forward_inference;

Value OfRank(Builder& builder, const Value& value, size_t rank) {
  memory::dims shape = value.desc.get_dims();
  shape.insert(shape.begin(), rank - shape.size(), 1);
  return builder.Reshaped(value, shape);
}

/* Whether a post-op takes an operand with one element for each channel, or any where an axis has one element.  oneDNN
 * 3.2's binary primitive finds its elements only where channels lie first or last among the axes of an image, and the
 * layout tells which. */
bool ReadsByLayout(const Builder& builder, const Op& op) {
  memory::dims whole = builder.Shape(op.outputs[0]);
  bool ambiguous = std::count(whole.begin(), whole.end(), 1) > 0;
  return std::any_of(op.post_ops.begin(), op.post_ops.end(), [&](const PostOp& post_op) {
    return post_op.input >= 0 && (ambiguous || builder.Shape(post_op.input) != whole);
  });
}

/* [images, channels] of images of one pixel, whose channels lie first and last; empty for others. */
memory::dims RowsOfPixels(const memory::dims& shape) {
  bool pixels = shape.size() > 2 && std::all_of(shape.begin() + 2, shape.end(), [](int64_t dim) { return dim == 1; });
  return pixels ? memory::dims(shape.begin(), shape.begin() + 2) : memory::dims();
}

/* An input of a binary op, of as many dimensions as the result, or as `rows` where there are any. */
Value Operand(Builder& builder, const Op& op, int input, const memory::dims& rows) {
  Value value = OfRank(builder, builder.Computed(op.inputs[input]), builder.Shape(op.outputs[0]).size());
  memory::dims shape = value.desc.get_dims();
  return rows.empty() ? value : builder.Reshaped(value, {shape[0], shape[1]});
}

/* The dense layout that a tensor has, channels first or last, with its strides also for axes of one element, which oneDNN
 * compares nowhere but relies on; nothing where it has another layout. */
std::optional<memory::desc> DenseLayout(const memory::desc& desc) {
  if (!IsStrided(desc)) return {};
  memory::dims shape = desc.get_dims();
  memory::desc plain = PlainDesc(shape, desc.get_data_type());
  if (desc == plain) return plain;
  if (shape.size() <= 2) return {};
  memory::desc last = ChannelsLastDesc(shape, desc.get_data_type());
  return desc == last ? std::optional<memory::desc>(last) : std::nullopt;
}

/* The same memory, described by its dense layout where it has one. */
Value Dense(const Value& value) { return {DenseLayout(value.desc).value_or(value.desc), value.buffer, value.offset}; }

bool IsPlainLoop(const Descriptor& descriptor) { return std::string(descriptor.impl_info_str()).rfind("ref", 0) == 0; }

/* Whether it is a view of part of a tensor. */
bool HasGaps(const memory::desc& desc) {
  size_t bytes = memory::data_type_size(desc.get_data_type());
  for (int64_t dim : desc.get_dims()) bytes *= static_cast<size_t>(dim);
  return desc.get_size() != bytes;
}

}  // namespace

dnnl::algorithm AlgorithmOf(const std::string& name) {
  using dnnl::algorithm;
  static const std::map<std::string, algorithm> algorithms = {
      {"relu", algorithm::eltwise_relu},           {"tanh", algorithm::eltwise_tanh},
      {"elu", algorithm::eltwise_elu},             {"square", algorithm::eltwise_square},
      {"abs", algorithm::eltwise_abs},             {"sqrt", algorithm::eltwise_sqrt},
      {"linear", algorithm::eltwise_linear},       {"soft_relu", algorithm::eltwise_soft_relu},
      {"logistic", algorithm::eltwise_logistic},   {"exp", algorithm::eltwise_exp},
      {"gelu_tanh", algorithm::eltwise_gelu_tanh}, {"gelu_erf", algorithm::eltwise_gelu_erf},
      {"swish", algorithm::eltwise_swish},         {"log", algorithm::eltwise_log},
      {"clip", algorithm::eltwise_clip},           {"pow", algorithm::eltwise_pow},
      {"round", algorithm::eltwise_round},         {"hardswish", algorithm::eltwise_hardswish},
      {"hardsigmoid", algorithm::eltwise_hardsigmoid}, {"mish", algorithm::eltwise_mish},
      {"binary_add", algorithm::binary_add},       {"binary_sub", algorithm::binary_sub},
      {"binary_mul", algorithm::binary_mul},       {"binary_div", algorithm::binary_div},
      {"binary_max", algorithm::binary_max},       {"binary_min", algorithm::binary_min},
      {"reduction_sum", algorithm::reduction_sum}, {"reduction_mean", algorithm::reduction_mean},
      {"reduction_max", algorithm::reduction_max}, {"reduction_min", algorithm::reduction_min},
      {"pool_max", algorithm::pooling_max},
      {"pool_average", algorithm::pooling_avg_exclude_padding},
      {"pool_average_padding", algorithm::pooling_avg_include_padding},
      {"resampling_nearest", algorithm::resampling_nearest},
      {"resampling_linear", algorithm::resampling_linear},
      {"softmax", algorithm::softmax_accurate}};
  auto found = algorithms.find(name);
  if (found == algorithms.end()) throw std::invalid_argument("no algorithm is called " + name);
  return found->second;
}

void EmitAsTheyAre(Builder& builder, const Op& op, Arguments operands, const MakeFor& make, const memory::dims& rows) {
  auto make_result = [&](const memory::desc& result, const primitive_attr& attributes) {
    return make(operands, result, attributes);
  };
  memory::dims shape = rows.empty() ? builder.Shape(op.outputs[0]) : rows;
  Descriptor chosen = make_result({shape, builder.Type(op.outputs[0]), memory::format_tag::any}, {});
  bool slow = chosen && IsPlainLoop(chosen) && HasGaps(operands[0].second.desc);
  if (!slow && builder.Emit(op, operands, make_result, rows)) return;
  for (auto& [argument, value] : operands) value = builder.Plain(value);
  auto make_plain = [&](const memory::desc& result, const primitive_attr& attributes) {
    return make(operands, PlainDesc(result.get_dims(), result.get_data_type()), attributes);
  };
  if (!builder.Emit(op, operands, make_plain, rows)) throw std::runtime_error("oneDNN has no such primitive");
}

void BuildEltwise(Builder& builder, const Op& op) {
  auto make = [&](const Arguments& operands, const memory::desc& result, const primitive_attr& attributes) {
    return Descriptor(dnnl::eltwise_forward::primitive_desc(
        builder.engine(), kInference, AlgorithmOf(op.algorithm), operands[0].second.desc, result,
        static_cast<float>(op.Scalar("alpha")), static_cast<float>(op.Scalar("beta")), attributes, true));
  };
  EmitAsTheyAre(builder, op, {{DNNL_ARG_SRC, builder.Computed(op.inputs[0])}}, make);
}

/* The second operand may be broadcast to the first. */
void BuildBinary(Builder& builder, const Op& op) {
  bool by_layout = ReadsByLayout(builder, op);
  memory::dims rows = by_layout ? RowsOfPixels(builder.Shape(op.outputs[0])) : memory::dims();
  Value left = Operand(builder, op, 0, rows), right = Operand(builder, op, 1, rows);
  if (by_layout && IsStrided(left.desc) && !DenseLayout(left.desc)) left = builder.Plain(left);
  left = Dense(left), right = Dense(right);
  if (left.desc.get_dims() == right.desc.get_dims()) {
    memory::data_type type = right.desc.get_data_type();
    if (IsStrided(left.desc) || type == left.desc.get_data_type()) right = builder.As(right, Retyped(left.desc, type));
  }
  auto make = [&](const Arguments& operands, const memory::desc& result, const primitive_attr& attributes) {
    return Descriptor(dnnl::binary::primitive_desc(builder.engine(), AlgorithmOf(op.algorithm),
                                                   operands[0].second.desc, operands[1].second.desc, result,
                                                   attributes, true));
  };
  EmitAsTheyAre(builder, op, {{DNNL_ARG_SRC_0, left}, {DNNL_ARG_SRC_1, right}}, make, rows);
}

}  // namespace byoc_dnnl
