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

/* Matrices times one matrix are one product of all their rows. */
void BuildMatmul(Builder& builder, const Op& op) {
  memory::dims shape = builder.Shape(op.outputs[0]), rows;
  Value source = builder.Computed(op.inputs[0]), weights = builder.Get(op.inputs[1]);
  if (shape.size() > 2 && weights.desc.get_ndims() == 2) {
    int64_t width = source.desc.get_dims().back();
    rows = {1, shape.back()};
    for (size_t i = 0; i + 1 < shape.size(); ++i) rows[0] *= shape[i];
    source = builder.Reshaped(source, {rows[0], width});
  }
  size_t rank = rows.empty() ? shape.size() : 2;
  source = Readable(builder, OfRank(builder, source, rank));
  weights = OfRank(builder, weights, rank);
  memory::desc wanted(weights.desc.get_dims(), builder.Type(op.inputs[1]), memory::format_tag::any);
  if (!builder.IsConstant(weights)) {
    weights = Readable(builder, OfRank(builder, builder.Computed(op.inputs[1]), rank));
    wanted = weights.desc;
  }
  Arguments operands = {{DNNL_ARG_SRC, source}, {DNNL_ARG_WEIGHTS, weights}};
  memory::desc bias;
  if (op.inputs.size() > 2) {
    memory::dims per_column(rank, 1);
    per_column.back() = shape.back();
    Value value = builder.Reshaped(builder.Get(op.inputs[2]), per_column);
    bias = value.desc;
    operands.push_back({DNNL_ARG_BIAS, value});
  }
  auto make = [&](const memory::desc& result, const primitive_attr& attributes) -> Descriptor {
    memory::desc plain = PlainDesc(result.get_dims(), result.get_data_type());
    const memory::desc& layout = result.get_format_kind() == memory::format_kind::any ? plain : result;
    return dnnl::matmul::primitive_desc(builder.engine(), source.desc, wanted, bias, layout, attributes, true);
  };
  if (!builder.Emit(op, operands, make, rows)) throw std::runtime_error("oneDNN has no such matmul");
}

}  // namespace byoc_dnnl
