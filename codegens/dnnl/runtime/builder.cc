#include "builder.h"

#include <algorithm>
#include <stdexcept>

#include "ops.h"

namespace byoc_dnnl {
namespace {

memory::data_type TypeOf(const std::string& name) {
  static const std::map<std::string, memory::data_type> types = {
      {"float32", memory::data_type::f32}, {"bfloat16", memory::data_type::bf16}, {"int8", memory::data_type::s8},
      {"uint8", memory::data_type::u8},    {"int32", memory::data_type::s32}, {"int64", kLongIntegers}};
  auto found = types.find(name);
  if (found == types.end()) throw std::invalid_argument("no oneDNN type for " + name);
  return found->second;
}

}  // namespace

Builder::Builder(const Program& program, const Numbers& extents, dnnl::engine engine, PackedConstants* packed)
    : program_(program), extents_(extents), engine_(engine), packed_(packed), values_(program.tensors.size()),
      last_use_(program.tensors.size(), -1) {
  auto add = [this](const std::vector<int>& tensors, Home home) {
    for (size_t i = 0; i < tensors.size(); ++i) {
      schedule_.buffers.push_back({home, static_cast<int>(i)});
      memory::data_type type = TypeOf(program_.tensors[tensors[i]].dtype);
      values_[tensors[i]] = {PlainDesc(Shape(tensors[i]), type), static_cast<int>(schedule_.buffers.size()) - 1};
    }
  };
  add(program.inputs, Home::kInput);
  add(program.constants, Home::kConstant);
  for (size_t i = 0; i < program.ops.size(); ++i) {
    for (int tensor : program.ops[i].inputs) last_use_[tensor] = static_cast<int>(i);
    for (const auto& [name, tensor] : program.ops[i].scales) last_use_[tensor] = static_cast<int>(i);
    for (const PostOp& post_op : program.ops[i].post_ops)
      if (post_op.input >= 0) last_use_[post_op.input] = static_cast<int>(i);
  }
  for (int tensor : program.outputs) last_use_[tensor] = static_cast<int>(program.ops.size());
  ChooseAttention();
}

void Builder::ChooseAttention() {
  attentions_ = FindAttention(*this, program_);
  for (const auto& [product, chain] : attentions_) {
    absorbed_.insert(chain.absorbed.begin(), chain.absorbed.end());
    for (int tensor : {chain.query, chain.key, chain.mask})
      if (tensor >= 0) last_use_[tensor] = std::max(last_use_[tensor], static_cast<int>(product - program_.ops.data()));
  }
}

Schedule Builder::Build() {
  for (const Op& op : program_.ops) {
    try {
      if (absorbed_.count(&op) == 0) BuildOp(op);
    } catch (const std::exception& error) {
      throw std::runtime_error(op.kind + " " + op.name + ": " + error.what());
    }
    ++current_;
  }
  for (size_t i = 0; i < program_.outputs.size(); ++i) Deliver(i);
  PlanArena(&schedule_);
  return std::move(schedule_);
}

void Builder::BuildOp(const Op& op) {
  auto attention = attentions_.find(&op);
  if (attention != attentions_.end()) return BuildAttention(*this, op, attention->second);
  auto found = Builds().find(op.kind);
  if (found == Builds().end()) throw std::invalid_argument("no op is called that");
  found->second(*this, op);
}

/* A result that was computed into the arena, in the layout that the caller wants, is computed in the caller's memory
 * instead; others are copied. */
void Builder::Deliver(size_t output) {
  int tensor = program_.outputs[output];
  memory::desc wanted = PlainDesc(Shape(tensor), TypeOf(program_.tensors[tensor].dtype));
  const Value value = values_[tensor];
  Buffer& buffer = schedule_.buffers[value.buffer];
  if (buffer.home == Home::kArena && value.desc == wanted && value.offset == 0 && buffer.bytes <= wanted.get_size()) {
    buffer.home = Home::kOutput;
    buffer.index = static_cast<int>(output);
    return;
  }
  schedule_.buffers.push_back({Home::kOutput, static_cast<int>(output)});
  AddCopy(value, {wanted, static_cast<int>(schedule_.buffers.size()) - 1});
}

memory::dims Builder::Shape(int tensor) const {
  memory::dims shape = program_.tensors[tensor].shape;
  for (auto& dim : shape)
    if (dim < 0) dim = extents_.at(-1 - dim);
  return shape.empty() ? memory::dims{1} : shape;
}

memory::data_type Builder::Type(int tensor) const {
  memory::data_type type = TypeOf(program_.tensors[tensor].dtype);
  return type == memory::data_type::f32 && program_.precision == "bf16" ? memory::data_type::bf16 : type;
}

memory::desc Builder::Any(int tensor) const { return {Shape(tensor), Type(tensor), memory::format_tag::any}; }

bool Builder::IsConstant(const Value& value) const {
  Home home = schedule_.buffers[value.buffer].home;
  return home == Home::kConstant || home == Home::kPacked;
}

bool Builder::IsPlainConstant(const Value& value) const {
  return schedule_.buffers[value.buffer].home == Home::kConstant &&
         value.desc == PlainDesc(value.desc.get_dims(), memory::data_type::f32);
}

Value Builder::New(const memory::desc& desc) {
  schedule_.buffers.push_back({Home::kArena, 0, desc.get_size()});
  return {desc, static_cast<int>(schedule_.buffers.size()) - 1};
}

Value Builder::As(const Value& value, const memory::desc& desc) {
  if (value.desc == desc) return value;
  const Buffer buffer = schedule_.buffers[value.buffer];
  if (buffer.home == Home::kConstant) {
    int packed = packed_->Pack(buffer.index, value.offset, value.desc, desc);
    schedule_.buffers.push_back({Home::kPacked, packed});
    return {desc, static_cast<int>(schedule_.buffers.size()) - 1};
  }
  for (const auto& [from, to] : copies_)
    if (from.buffer == value.buffer && from.offset == value.offset && from.desc == value.desc && to.desc == desc)
      return to;
  Value copy = New(desc);
  AddCopy(value, copy);
  copies_.push_back({value, copy});
  return copy;
}

Value Builder::Plain(const Value& value) {
  return As(value, PlainDesc(value.desc.get_dims(), value.desc.get_data_type()));
}

Value Builder::Computed(int tensor) {
  const Value& value = values_[tensor];
  memory::data_type type = Type(tensor);
  if (value.desc.get_data_type() == type) return value;
  return As(value, IsStrided(value.desc) ? Retyped(value.desc, type) : PlainDesc(value.desc.get_dims(), type));
}

Value Builder::Float(int tensor) {
  const Value& value = values_[tensor];
  if (value.desc.get_data_type() == memory::data_type::f32) return value;
  return As(value, PlainDesc(value.desc.get_dims(), memory::data_type::f32));
}

Value Builder::Reshaped(const Value& value, const memory::dims& shape) {
  if (value.desc.get_dims() == shape) return value;
  Value strided = IsStrided(value.desc) ? value : Plain(value);
  auto [copy, view] = ReshapedLayouts(strided.desc, shape);
  if (!copy.is_zero()) strided = As(strided, copy);
  return {view, strided.buffer, strided.offset};
}

void Builder::AddCopy(const Value& from, const Value& to, const Op* op) {
  Epilogue epilogue;
  if (op) AddScales(*op, {}, &epilogue);
  epilogue.attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  Value source = from, target = to;
  source.desc = Movable(from.desc);
  target.desc = Movable(to.desc);
  dnnl::reorder::primitive_desc descriptor(engine_, source.desc, engine_, target.desc, epilogue.attributes);
  std::string label = op ? op->kind + " " + op->name : "reorder";
  Step step{dnnl::primitive(descriptor.get()), {{DNNL_ARG_FROM, source}, {DNNL_ARG_TO, target}}, label, op ? current_ : -1};
  step.arguments.insert(step.arguments.end(), epilogue.operands.begin(), epilogue.operands.end());
  memory::desc scratchpad = descriptor.scratchpad_desc();
  if (scratchpad.get_size() > 0) step.arguments.push_back({DNNL_ARG_SCRATCHPAD, New(scratchpad)});
  schedule_.steps.push_back(std::move(step));
}

void Builder::AddFill(const Value& value, int byte) {
  schedule_.steps.push_back({{}, {{DNNL_ARG_DST, value}}, "fill", -1, nullptr, byte});
}

/* Images are kept with their channels last, in which oneDNN's best primitives work, unless a primitive would become
 * another one by it. */
Descriptor Builder::Preferred(const Op& op, const memory::desc& any, const Epilogue& epilogue,
                              const Make& make) const {
  Descriptor chosen = make(any, epilogue.attributes);
  bool is_image = op.kind == "convolution" || op.kind == "deconvolution";
  if (!chosen || !is_image) return chosen;
  Descriptor alternative = make(ChannelsLastDesc(any.get_dims(), any.get_data_type()), epilogue.attributes);
  bool same = alternative && std::string(alternative.impl_info_str()) == chosen.impl_info_str();
  return same ? alternative : chosen;
}

bool Builder::Emit(const Op& op, const Arguments& operands, const Make& make, const memory::dims& rows) {
  memory::dims whole = Shape(op.outputs[0]), shape = rows.empty() ? whole : rows;
  Epilogue epilogue = EpilogueOf(op, operands, shape);
  memory::desc any(shape, Type(op.outputs[0]), memory::format_tag::any);
  Descriptor descriptor = Preferred(op, any, epilogue, make);
  if (!descriptor) return false;
  Value result = Result(epilogue, make, &descriptor);
  Step step{dnnl::primitive(descriptor.get()), {}, op.kind + " " + op.name + " " + descriptor.impl_info_str(), current_};
  Arguments all = operands;
  all.insert(all.end(), epilogue.operands.begin(), epilogue.operands.end());
  for (const auto& [argument, value] : all) {
    bool as_it_is = argument & (DNNL_ARG_ATTR_SCALES | DNNL_ARG_ATTR_ZERO_POINTS);
    memory::desc wanted = as_it_is ? value.desc : descriptor.query_md(dnnl::query::exec_arg_md, argument);
    step.arguments.push_back({argument, As(value, wanted)});
  }
  step.arguments.push_back({DNNL_ARG_DST, result});
  memory::desc scratchpad = descriptor.query_md(dnnl::query::scratchpad_md);
  if (scratchpad.get_size() > 0) step.arguments.push_back({DNNL_ARG_SCRATCHPAD, New(scratchpad)});
  schedule_.steps.push_back(std::move(step));
  values_[op.outputs[0]] = Reshaped(result, whole);
  return true;
}

void Builder::EmitKernel(const Op& op, const Arguments& operands, const Value& result,
                         std::shared_ptr<const Kernel> kernel, const std::string& name) {
  Step step{{}, operands, op.kind + " " + op.name + " " + name, current_, std::move(kernel)};
  step.arguments.push_back({DNNL_ARG_DST, result});
  schedule_.steps.push_back(std::move(step));
  values_[op.outputs[0]] = result;
}

Value Builder::Packed(const Value& constant, const std::string& kind, size_t floats,
                      const PackedConstants::Fill& fill) {
  const Buffer& buffer = schedule_.buffers[constant.buffer];
  int packed = packed_->Pack(buffer.index, constant.offset, kind, floats, fill);
  schedule_.buffers.push_back({Home::kPacked, packed});
  return {PlainDesc({static_cast<int64_t>(floats)}, memory::data_type::f32),
          static_cast<int>(schedule_.buffers.size()) - 1};
}

}  // namespace byoc_dnnl
