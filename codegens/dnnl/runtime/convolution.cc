#include <stdexcept>

#include "ops.h"

namespace byoc_dnnl {
namespace {

constexpr auto kInference = dnnl::prop_kind::forward_inference;

memory::desc AnyLike(const Value& value, memory::data_type type) {
  return {value.desc.get_dims(), type, memory::format_tag::any};
}

/* [groups, out, in, ...] where there are several groups. */
Value Grouped(Builder& builder, const Value& weights, int64_t groups) {
  if (groups == 1) return weights;
  memory::dims shape = weights.desc.get_dims();
  shape[0] /= groups;
  shape.insert(shape.begin(), groups);
  return builder.Reshaped(weights, shape);
}

Value Swapped(const Value& value, int a, int b) {
  std::vector<int> order(value.desc.get_ndims());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
  std::swap(order[a], order[b]);
  return {value.desc.permute_axes(order), value.buffer, value.offset};
}

Arguments Operands(Builder& builder, const Op& op, const Value& weights) {
  Arguments operands = {{DNNL_ARG_SRC, builder.Get(op.inputs[0])}, {DNNL_ARG_WEIGHTS, weights}};
  if (op.inputs.size() > 2) {
    Value bias = builder.Get(op.inputs[2]);
    operands.push_back({DNNL_ARG_BIAS, builder.Reshaped(bias, {builder.Shape(op.outputs[0])[1]})});
  }
  return operands;
}

}  // namespace

void BuildConvolution(Builder& builder, const Op& op) {
  if (BuildWinograd(builder, op)) return;
  Value weights = Grouped(builder, builder.Get(op.inputs[1]), op.Number("groups"));
  Arguments operands = Operands(builder, op, weights);
  auto make = [&](const memory::desc& result, const primitive_attr& attributes) -> Descriptor {
    memory::desc bias;
    if (operands.size() > 2) bias = {operands[2].second.desc.get_dims(), memory::data_type::f32, memory::format_tag::a};
    return dnnl::convolution_forward::primitive_desc(
        builder.engine(), kInference, dnnl::algorithm::convolution_direct, builder.Any(op.inputs[0]),
        AnyLike(weights, builder.Type(op.inputs[1])), bias, result, op.Get("strides"), op.Get("dilation"),
        op.Get("before"), op.Get("after"), attributes, true);
  };
  if (!builder.Emit(op, operands, make)) throw std::runtime_error("oneDNN has no such convolution");
}

/* Weights come as [in, out / groups, ...] and are wanted as [groups, out, in, ...]. */
void BuildDeconvolution(Builder& builder, const Op& op) {
  int64_t groups = op.Number("groups");
  Value weights = Grouped(builder, builder.Get(op.inputs[1]), groups);
  weights = groups == 1 ? Swapped(weights, 0, 1) : Swapped(weights, 1, 2);
  Arguments operands = Operands(builder, op, weights);
  auto make = [&](const memory::desc& result, const primitive_attr& attributes) -> Descriptor {
    memory::desc bias;
    if (operands.size() > 2) bias = {operands[2].second.desc.get_dims(), memory::data_type::f32, memory::format_tag::a};
    return dnnl::deconvolution_forward::primitive_desc(
        builder.engine(), kInference, dnnl::algorithm::deconvolution_direct, builder.Any(op.inputs[0]),
        AnyLike(weights, builder.Type(op.inputs[1])), bias, result, op.Get("strides"), op.Get("dilation"),
        op.Get("before"), op.Get("after"), attributes, true);
  };
  if (!builder.Emit(op, operands, make)) throw std::runtime_error("oneDNN has no such deconvolution");
}

}  // namespace byoc_dnnl
