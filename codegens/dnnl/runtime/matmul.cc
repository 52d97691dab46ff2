#include <stdexcept>

#include "ops.h"

namespace byoc_dnnl {
namespace {

Value OfRank(Builder& builder, const Value& value, size_t rank) {
  memory::dims shape = value.desc.get_dims();
  if (shape.size() == rank) return value;
  shape.insert(shape.begin(), rank - shape.size(), 1);
  return builder.Reshaped(value, shape);
}

/* A matrix may be read transposed, but one of its two dimensions must be dense. */
Value Readable(Builder& builder, const Value& value) {
  if (IsStrided(value.desc)) {
    memory::dims strides = value.desc.get_strides();
    size_t rank = strides.size();
    if (strides[rank - 1] == 1 || strides[rank - 2] == 1) return value;
  }
  return builder.Plain(value);
}

}  // namespace

void BuildMatmul(Builder& builder, const Op& op) {
  size_t rank = builder.Shape(op.outputs[0]).size();
  Value source = Readable(builder, OfRank(builder, builder.Computed(op.inputs[0]), rank));
  Value weights = OfRank(builder, builder.Get(op.inputs[1]), rank);
  memory::desc wanted(weights.desc.get_dims(), builder.Type(op.inputs[1]), memory::format_tag::any);
  if (!builder.IsConstant(weights)) {
    weights = Readable(builder, OfRank(builder, builder.Computed(op.inputs[1]), rank));
    wanted = weights.desc;
  }
  Arguments operands = {{DNNL_ARG_SRC, source}, {DNNL_ARG_WEIGHTS, weights}};
  memory::desc bias;
  if (op.inputs.size() > 2) {
    Value value = OfRank(builder, builder.Get(op.inputs[2]), rank);
    bias = value.desc;
    operands.push_back({DNNL_ARG_BIAS, value});
  }
  auto make = [&](const memory::desc& result, const primitive_attr& attributes) -> Descriptor {
    memory::desc plain = PlainDesc(result.get_dims(), result.get_data_type());
    const memory::desc& layout = result.get_format_kind() == memory::format_kind::any ? plain : result;
    return dnnl::matmul::primitive_desc(builder.engine(), source.desc, wanted, bias, layout, attributes, true);
  };
  if (!builder.Emit(op, operands, make)) throw std::runtime_error("oneDNN has no such matmul");
}

}  // namespace byoc_dnnl
