/* Activations quantised at run time, as ONNX's DynamicQuantizeLinear does it. */
#include <algorithm>
#include <cmath>

#include "bytes.h"
#include "ops.h"

namespace byoc_dnnl {
namespace {

struct Range : Kernel {
  int64_t elements;
  void Run(char* const* data) const override {
    FindRange(reinterpret_cast<const float*>(data[0]), elements, reinterpret_cast<float*>(data[1]));
  }
};

struct RangeScale : Kernel {
  void Run(char* const* data) const override {
    const float* range = reinterpret_cast<const float*>(data[0]);
    float span = (range[1] - range[0]) / 255.0f;
    *reinterpret_cast<float*>(data[1]) = span > 0 ? span : 1.0f;
  }
};

struct RangeZero : Kernel {
  void Run(char* const* data) const override {
    float low = *reinterpret_cast<const float*>(data[0]), scale = *reinterpret_cast<const float*>(data[1]);
    *reinterpret_cast<uint8_t*>(data[2]) = static_cast<uint8_t>(std::clamp(std::nearbyint(-low / scale), 0.0f, 255.0f));
  }
};

struct Quantizer : Kernel {
  int64_t elements;
  void Run(char* const* data) const override {
    QuantizeFloats(reinterpret_cast<const float*>(data[0]), elements, *reinterpret_cast<const float*>(data[1]),
                   *reinterpret_cast<const uint8_t*>(data[2]), reinterpret_cast<uint8_t*>(data[3]));
  }
};

int64_t Elements(const Value& value) {
  int64_t count = 1;
  for (int64_t dim : value.desc.get_dims()) count *= dim;
  return count;
}

Value PlainFloats(Builder& builder, int tensor) {
  const Value& value = builder.Get(tensor);
  return builder.As(value, PlainDesc(value.desc.get_dims(), memory::data_type::f32));
}

}  // namespace

void BuildRange(Builder& builder, const Op& op) {
  Value source = PlainFloats(builder, op.inputs[0]);
  auto kernel = std::make_shared<Range>();
  kernel->elements = Elements(source);
  builder.EmitKernel(op, {{DNNL_ARG_SRC, source}}, builder.New(PlainDesc({2}, memory::data_type::f32)), kernel, "own");
}

void BuildRangeScale(Builder& builder, const Op& op) {
  Value result = builder.New(PlainDesc({1}, memory::data_type::f32));
  builder.EmitKernel(op, {{DNNL_ARG_SRC, builder.Get(op.inputs[0])}}, result, std::make_shared<RangeScale>(), "own");
}

void BuildRangeZero(Builder& builder, const Op& op) {
  Arguments operands = {{DNNL_ARG_SRC, builder.Get(op.inputs[0])}, {DNNL_ARG_SRC_1, builder.Get(op.inputs[1])}};
  Value result = builder.New(PlainDesc({1}, memory::data_type::u8));
  builder.EmitKernel(op, operands, result, std::make_shared<RangeZero>(), "own");
}

void BuildQuantize(Builder& builder, const Op& op) {
  Value source = PlainFloats(builder, op.inputs[0]);
  auto kernel = std::make_shared<Quantizer>();
  kernel->elements = Elements(source);
  Arguments operands = {{DNNL_ARG_SRC, source}, {DNNL_ARG_SRC_1, builder.Get(op.inputs[1])},
                        {DNNL_ARG_SRC_2, builder.Get(op.inputs[2])}};
  builder.EmitKernel(op, operands, builder.New(PlainDesc(source.desc.get_dims(), memory::data_type::u8)), kernel, "own");
}

}  // namespace byoc_dnnl
