/* Ops that look at several elements for one result: pooling, reductions, normalisations, resampling. */
#include "ops.h"

namespace byoc_dnnl {
namespace {

constexpr auto kInference = dnnl::prop_kind::forward_inference;

}  // namespace

void BuildPool(Builder& builder, const Op& op) {
  Value source = builder.Computed(op.inputs[0]);
  if (memory::data_type_size(source.desc.get_data_type()) == 1)  // the fast ones for bytes want channels last
    source = builder.As(source, ChannelsLastDesc(source.desc.get_dims(), source.desc.get_data_type()));
  auto make = [&](const Arguments& operands, const memory::desc& result, const primitive_attr& attributes) {
    return Descriptor(dnnl::pooling_forward::primitive_desc(
        builder.engine(), kInference, AlgorithmOf(op.algorithm), operands[0].second.desc, result, op.Get("strides"),
        op.Get("window"), op.Get("dilation"), op.Get("before"), op.Get("after"), attributes, true));
  };
  EmitAsTheyAre(builder, op, {{DNNL_ARG_SRC, source}}, make);
}

/* The result keeps the reduced dimensions, with size one.  Where all of them have one element, which oneDNN refuses, it
 * is the larger of the operand and itself. */
void BuildReduction(Builder& builder, const Op& op) {
  if (builder.Shape(op.inputs[0]) == builder.Shape(op.outputs[0])) {
    Op same = op;
    same.algorithm = "binary_max";
    same.inputs = {op.inputs[0], op.inputs[0]};
    return BuildBinary(builder, same);
  }
  auto make = [&](const Arguments& operands, const memory::desc& result, const primitive_attr& attributes) {
    return Descriptor(dnnl::reduction::primitive_desc(builder.engine(), AlgorithmOf(op.algorithm),
                                                      operands[0].second.desc, result, 0, 0, attributes, true));
  };
  EmitAsTheyAre(builder, op, {{DNNL_ARG_SRC, builder.Computed(op.inputs[0])}}, make);
}

void BuildResampling(Builder& builder, const Op& op) {
  auto make = [&](const Arguments& operands, const memory::desc& result, const primitive_attr& attributes) {
    return Descriptor(dnnl::resampling_forward::primitive_desc(builder.engine(), kInference, AlgorithmOf(op.algorithm),
                                                               operands[0].second.desc, result, attributes, true));
  };
  EmitAsTheyAre(builder, op, {{DNNL_ARG_SRC, builder.Computed(op.inputs[0])}}, make);
}

void BuildSoftmax(Builder& builder, const Op& op) {
  auto make = [&](const Arguments& operands, const memory::desc& result, const primitive_attr& attributes) {
    return Descriptor(dnnl::softmax_forward::primitive_desc(builder.engine(), kInference, AlgorithmOf(op.algorithm),
                                                            operands[0].second.desc, result,
                                                            static_cast<int>(op.Number("axis")), attributes, true));
  };
  EmitAsTheyAre(builder, op, {{DNNL_ARG_SRC, builder.Computed(op.inputs[0])}}, make);
}

/* Over the last dimension; scale and shift are optional. */
void BuildLayerNorm(Builder& builder, const Op& op) {
  auto flags = dnnl::normalization_flags::none;
  Arguments inputs = {{DNNL_ARG_SRC, builder.Plain(builder.Computed(op.inputs[0]))}};
  if (op.inputs.size() > 1) {
    flags = dnnl::normalization_flags::use_scale | dnnl::normalization_flags::use_shift;
    inputs.push_back({DNNL_ARG_SCALE, builder.Get(op.inputs[1])});
    inputs.push_back({DNNL_ARG_SHIFT, builder.Get(op.inputs[2])});
  }
  auto make = [&](const Arguments& operands, const memory::desc& result, const primitive_attr& attributes) {
    return Descriptor(dnnl::layer_normalization_forward::primitive_desc(
        builder.engine(), kInference, operands[0].second.desc, result, static_cast<float>(op.Scalar("epsilon")), flags,
        attributes, true));
  };
  EmitAsTheyAre(builder, op, inputs, make);
}

void BuildLrn(Builder& builder, const Op& op) {
  auto make = [&](const Arguments& operands, const memory::desc& result, const primitive_attr& attributes) {
    return Descriptor(dnnl::lrn_forward::primitive_desc(
        builder.engine(), kInference, dnnl::algorithm::lrn_across_channels, operands[0].second.desc, result,
        op.Number("size"), static_cast<float>(op.Scalar("alpha")), static_cast<float>(op.Scalar("beta")),
        static_cast<float>(op.Scalar("bias")), attributes, true));
  };
  EmitAsTheyAre(builder, op, {{DNNL_ARG_SRC, builder.Computed(op.inputs[0])}}, make);
}

}  // namespace byoc_dnnl
