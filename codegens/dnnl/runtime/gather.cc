/* Rows chosen by integers, and integers as floats. */
#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "ops.h"

namespace byoc_dnnl {
namespace {

int64_t Product(memory::dims::const_iterator begin, memory::dims::const_iterator end) {
  int64_t product = 1;
  for (; begin != end; ++begin) product *= *begin;
  return product;
}

template <typename Body>
void WithIntegers(memory::data_type type, const char* data, const Body& body) {
  if (type == kLongIntegers) {
    body(reinterpret_cast<const int64_t*>(data));
  } else {
    body(reinterpret_cast<const int32_t*>(data));
  }
}

/* out[o, k, :] = in[o, index[k], :]; negative integers count from the end, those outside become the nearest inside. */
struct Gather : Kernel {
  memory::data_type type;
  std::string mode;
  int64_t outer, count, extent, inner;

  int64_t Inside(int64_t index) const {
    if (mode == "wrap") index %= extent;
    if (mode == "clip") index = std::max<int64_t>(index, 0);
    if (index < 0) index += extent;
    return std::min(std::max<int64_t>(index, 0), extent - 1);
  }

  void Run(char* const* data) const override {
    const size_t bytes = static_cast<size_t>(inner) * sizeof(float);
    WithIntegers(type, data[1], [&](const auto* indices) {
#pragma omp parallel for schedule(static) if (outer * count * inner > 1 << 14)
      for (int64_t at = 0; at < outer * count; ++at) {
        int64_t row = at / count * extent + Inside(indices[at % count]);
        std::memcpy(data[2] + at * bytes, data[0] + row * bytes, bytes);
      }
    });
  }
};

struct ToFloats : Kernel {
  memory::data_type type;
  int64_t count;

  void Run(char* const* data) const override {
    float* out = reinterpret_cast<float*>(data[1]);
    WithIntegers(type, data[0], [&](const auto* in) {
      for (int64_t i = 0; i < count; ++i) out[i] = static_cast<float>(in[i]);
    });
  }
};

}  // namespace

void BuildGather(Builder& builder, const Op& op) {
  auto kernel = std::make_shared<Gather>();
  Value table = builder.Plain(builder.Float(op.inputs[0])), indices = builder.Get(op.inputs[1]);
  memory::dims shape = table.desc.get_dims(), chosen = builder.Shape(op.inputs[1]);
  auto axis = shape.cbegin() + op.Number("axis");
  kernel->type = indices.desc.get_data_type(), kernel->mode = op.algorithm;
  kernel->outer = Product(shape.cbegin(), axis), kernel->extent = *axis, kernel->inner = Product(axis + 1, shape.cend());
  kernel->count = Product(chosen.cbegin(), chosen.cend());
  Value result = builder.New(PlainDesc(builder.Shape(op.outputs[0]), memory::data_type::f32));
  builder.EmitKernel(op, {{DNNL_ARG_SRC_0, table}, {DNNL_ARG_SRC_1, indices}}, result, kernel, "rows");
}

void BuildToFloats(Builder& builder, const Op& op) {
  auto kernel = std::make_shared<ToFloats>();
  Value integers = builder.Get(op.inputs[0]);
  memory::dims shape = integers.desc.get_dims();
  kernel->type = integers.desc.get_data_type(), kernel->count = Product(shape.cbegin(), shape.cend());
  Value result = builder.New(PlainDesc(shape, memory::data_type::f32));
  builder.EmitKernel(op, {{DNNL_ARG_SRC, integers}}, result, kernel, "integers");
}

}  // namespace byoc_dnnl
