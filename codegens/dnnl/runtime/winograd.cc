/* When a convolution is computed by Winograd's filtering, and its place in a schedule. */
#include "winograd.h"

#include <cmath>
#include <string>

#include "ops.h"

namespace byoc_dnnl {
namespace {

struct Winograd : Kernel {
  WinogradShape shape;
  bool has_bias = false, has_added = false;

  void Run(char* const* data) const override {
    auto next = [&data] { return reinterpret_cast<float*>(*data++); };
    float *in = next(), *weights = next(), *bias = has_bias ? next() : nullptr, *added = has_added ? next() : nullptr;
    float *scratch = next(), *out = next();
    WinogradRun(shape, in, weights, bias, added, out, scratch);
  }
};

bool AreAll(const Numbers& numbers, int64_t value) {
  for (int64_t number : numbers)
    if (number != value) return false;
  return true;
}

/* Sums and clipping are all that a kernel applies to its result. */
bool TakesPostOps(Builder& builder, const Op& op, WinogradShape* shape, int* added) {
  shape->low = -INFINITY, shape->high = INFINITY, *added = -1;
  for (const PostOp& post_op : op.post_ops) {
    bool is_last = &post_op == &op.post_ops.back();
    bool sums = post_op.kind == "sum" || (post_op.kind == "binary" && post_op.algorithm == "binary_add");
    if (sums && *added < 0 && builder.Shape(post_op.input) == builder.Shape(op.outputs[0])) {
      *added = post_op.input;
    } else if (is_last && post_op.algorithm == "relu" && post_op.alpha == 0) {
      shape->low = 0;
    } else if (is_last && post_op.algorithm == "clip") {
      shape->low = post_op.alpha, shape->high = post_op.beta;
    } else {
      return false;
    }
  }
  return true;
}

bool HasGeometry(Builder& builder, const Op& op) {
  memory::dims window = builder.Shape(op.inputs[1]);
  if (!builder.UsesWinograd() || window.size() != 4 || !builder.IsPlainConstant(builder.Get(op.inputs[1]))) return false;
  return (window[2] == 3 || window[2] == 5) && window[3] == window[2] && AreAll(op.Get("strides"), 1) &&
         AreAll(op.Get("dilation"), 0);
}

/* With channels next to each other; a view of such a tensor may have gaps between pixels. */
Value ChannelsLast(Builder& builder, const Value& value) {
  if (IsStrided(value.desc) && value.desc.get_strides()[1] == 1) return value;
  return builder.As(value, ChannelsLastDesc(value.desc.get_dims(), value.desc.get_data_type()));
}

PixelStrides StridesOf(const memory::desc& desc) {
  memory::dims strides = desc.get_strides();
  return {strides[0], strides[2], strides[3]};
}

}  // namespace

bool BuildWinograd(Builder& builder, const Op& op) {
  auto kernel = std::make_shared<Winograd>();
  WinogradShape& shape = kernel->shape;
  int added = -1;
  if (!HasGeometry(builder, op) || !TakesPostOps(builder, op, &shape, &added)) return false;
  memory::dims in = builder.Shape(op.inputs[0]), out = builder.Shape(op.outputs[0]), window = builder.Shape(op.inputs[1]);
  shape.batch = in[0], shape.groups = op.Number("groups"), shape.window = window[2];
  shape.inputs = window[1], shape.outputs = window[0] / shape.groups;
  shape.in_height = in[2], shape.in_width = in[3], shape.out_height = out[2], shape.out_width = out[3];
  shape.top = op.Get("before")[0], shape.left = op.Get("before")[1];
  if (!WinogradPays(shape)) return false;

  Value source = ChannelsLast(builder, builder.Computed(op.inputs[0]));
  Value result = builder.New(ChannelsLastDesc(out, memory::data_type::f32));
  shape.in = StridesOf(source.desc), shape.out = StridesOf(result.desc);
  Value weights = builder.Packed(builder.Get(op.inputs[1]), "winograd " + std::to_string(shape.groups),
                                 WinogradWeightFloats(shape), [&shape](const float* from, float* to) {
                                   WinogradTransformWeights(shape, from, to);
                                 });
  Arguments operands = {{DNNL_ARG_SRC, source}, {DNNL_ARG_WEIGHTS, weights}};
  if (op.inputs.size() > 2) {
    kernel->has_bias = true;
    operands.push_back({DNNL_ARG_BIAS, builder.Plain(builder.Get(op.inputs[2]))});
  }
  if (added >= 0) {
    kernel->has_added = true;
    Value value = ChannelsLast(builder, builder.Computed(added));
    shape.added = StridesOf(value.desc);
    operands.push_back({DNNL_ARG_SRC_1, value});
  }
  int64_t floats = static_cast<int64_t>(WinogradScratchFloats(shape));
  operands.push_back({DNNL_ARG_SCRATCHPAD, builder.New(PlainDesc({floats}, memory::data_type::f32))});
  builder.EmitKernel(op, operands, result, kernel, shape.window == 3 ? "winograd 4x4" : "winograd 2x2");
  return true;
}

}  // namespace byoc_dnnl
