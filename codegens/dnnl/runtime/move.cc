/* Ops that only move elements: views wherever the layout allows it. */
#include <algorithm>

#include "ops.h"

namespace byoc_dnnl {
namespace {

memory::dims BytesPer(const memory::desc& desc) {
  memory::dims result = desc.get_strides();
  for (auto& stride : result) stride *= static_cast<int64_t>(memory::data_type_size(desc.get_data_type()));
  return result;
}

}  // namespace

/* Parts whose layouts differ so much that oneDNN would take element after element all get that of the largest. */
void BuildConcat(Builder& builder, const Op& op) {
  Arguments operands;
  for (size_t i = 0; i < op.inputs.size(); ++i)
    operands.push_back({DNNL_ARG_MULTIPLE_SRC + static_cast<int>(i), builder.Computed(op.inputs[i])});
  auto make = [&](const memory::desc& result, const primitive_attr& attributes) -> Descriptor {
    std::vector<memory::desc> layouts;
    for (const auto& [argument, value] : operands) layouts.push_back(value.desc);
    return dnnl::concat::primitive_desc(builder.engine(), result, static_cast<int>(op.Number("axis")), layouts,
                                        attributes);
  };
  Descriptor chosen = make(builder.Any(op.outputs[0]), {});
  if (std::string(chosen.impl_info_str()).rfind("ref", 0) != 0) {
    builder.Emit(op, operands, make);
    return;
  }
  auto smaller = [](const auto& a, const auto& b) { return a.second.desc.get_size() < b.second.desc.get_size(); };
  const memory::desc largest = std::max_element(operands.begin(), operands.end(), smaller)->second.desc;
  bool last = largest.get_ndims() > 2 && largest == ChannelsLastDesc(largest.get_dims(), largest.get_data_type());
  auto layout = [last](const memory::desc& desc) {
    return last ? ChannelsLastDesc(desc.get_dims(), desc.get_data_type())
                : PlainDesc(desc.get_dims(), desc.get_data_type());
  };
  for (auto& [argument, value] : operands) value = builder.As(value, layout(value.desc));
  builder.Emit(op, operands, [&](const memory::desc& result, const primitive_attr& attributes) {
    return make(layout(result), attributes);
  });
}

void BuildPad(Builder& builder, const Op& op) {
  Value source = builder.Computed(op.inputs[0]);
  Value result = builder.New(PlainDesc(builder.Shape(op.outputs[0]), source.desc.get_data_type()));
  builder.AddFill(result, static_cast<int>(op.Number("filler")));
  builder.AddCopy(source, {result.desc.submemory_desc(source.desc.get_dims(), op.Get("before")), result.buffer});
  builder.Set(op.outputs[0], result);
}

void BuildReshape(Builder& builder, const Op& op) {
  builder.Set(op.outputs[0], builder.Reshaped(builder.Get(op.inputs[0]), builder.Shape(op.outputs[0])));
}

/* `axes` as in numpy.transpose; oneDNN wants the place that each axis goes to. */
void BuildTranspose(Builder& builder, const Op& op) {
  const Value& value = builder.Get(op.inputs[0]);
  const Numbers& axes = op.Get("axes");
  std::vector<int> places(axes.size());
  for (size_t i = 0; i < axes.size(); ++i) places[axes[i]] = static_cast<int>(i);
  builder.Set(op.outputs[0], {value.desc.permute_axes(places), value.buffer, value.offset});
}

void BuildSlice(Builder& builder, const Op& op) {
  Value value = builder.Get(op.inputs[0]);
  const Numbers &begin = op.Get("begin"), &steps = op.Get("steps");
  memory::dims shape = builder.Shape(op.outputs[0]);
  bool dense = std::all_of(steps.begin(), steps.end(), [](int64_t step) { return step == 1; });
  if (dense && !IsStrided(value.desc)) {
    memory::desc view = value.desc.submemory_desc(shape, begin, true);
    if (view) return builder.Set(op.outputs[0], {view, value.buffer, value.offset});
  }
  if (!IsStrided(value.desc)) value = builder.Plain(value);
  memory::dims strides = value.desc.get_strides(), bytes = BytesPer(value.desc);
  size_t offset = value.offset;
  for (size_t i = 0; i < shape.size(); ++i) {
    offset += begin[i] * bytes[i];
    strides[i] *= steps[i];
  }
  builder.Set(op.outputs[0], {memory::desc(shape, value.desc.get_data_type(), strides), value.buffer, offset});
}

void BuildCopy(Builder& builder, const Op& op) {
  Value source = builder.Computed(op.inputs[0]);
  Value result = builder.New(PlainDesc(source.desc.get_dims(), source.desc.get_data_type()));
  builder.AddCopy(source, result);
  builder.Set(op.outputs[0], result);
}

const std::map<std::string, Build>& Builds() {
  static const std::map<std::string, Build> builds = {
      {"convolution", BuildConvolution}, {"deconvolution", BuildDeconvolution}, {"matmul", BuildMatmul},
      {"eltwise", BuildEltwise},         {"binary", BuildBinary},               {"pool", BuildPool},
      {"reduction", BuildReduction},     {"resampling", BuildResampling},       {"softmax", BuildSoftmax},
      {"layer_norm", BuildLayerNorm},    {"lrn", BuildLrn},                     {"concat", BuildConcat},
      {"pad", BuildPad},                 {"reshape", BuildReshape},             {"transpose", BuildTranspose},
      {"slice", BuildSlice},             {"copy", BuildCopy},                   {"convert", BuildConvert},
      {"range", BuildRange},             {"range_scale", BuildRangeScale},      {"range_zero", BuildRangeZero},
      {"quantize", BuildQuantize},           {"gather", BuildGather},           {"to_floats", BuildToFloats},
      {"shuffle", BuildShuffle}};
  return builds;
}

}  // namespace byoc_dnnl
