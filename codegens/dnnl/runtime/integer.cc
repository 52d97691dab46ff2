/* Factors and zero points of integer operands, and conversions between integers and floats. */
#include "bytes.h"
#include "ops.h"

namespace byoc_dnnl {
namespace {

struct PixelQuantizer : Kernel {
  int64_t images, plane;
  bool is_signed, has_zero;

  void Run(char* const* data) const override {
    int32_t zero = has_zero ? *reinterpret_cast<const int32_t*>(data[2]) : 0;
    QuantizePixels(reinterpret_cast<const float*>(data[0]), images, plane, *reinterpret_cast<const float*>(data[1]),
                   zero, is_signed, reinterpret_cast<uint8_t*>(data[has_zero ? 3 : 2]));
  }
};

/* A coloured image as it comes from outside: false for anything else. */
bool BuildPixelQuantizer(Builder& builder, const Op& op) {
  const Value source = builder.Get(op.inputs[0]);
  memory::dims shape = source.desc.get_dims();
  memory::data_type type = builder.Type(op.outputs[0]);
  bool is_image = shape.size() == 4 && shape[1] == 3 && source.desc == PlainDesc(shape, memory::data_type::f32);
  bool is_scaled = op.scales.count("source") > 0;
  if (!HasByteKernels() || !is_image || !is_scaled || memory::data_type_size(type) != 1) return false;
  auto kernel = std::make_shared<PixelQuantizer>();
  kernel->images = shape[0], kernel->plane = shape[2] * shape[3];
  kernel->is_signed = type == memory::data_type::s8, kernel->has_zero = op.scales.count("result zero") > 0;
  Arguments operands = {{DNNL_ARG_SRC, source}, {DNNL_ARG_SRC_1, builder.Get(op.scales.at("source"))}};
  if (kernel->has_zero) operands.push_back({DNNL_ARG_SRC_2, builder.Get(op.scales.at("result zero"))});
  builder.EmitKernel(op, operands, builder.New(ChannelsLastDesc(shape, type)), kernel, "pixels");
  return true;
}

/* Which dimensions of an operand a tensor of factors varies along. */
int MaskOf(const Op& op, const Value& factors, const Arguments& operands) {
  if (factors.desc.get_dims() == memory::dims{1}) return 0;
  int rank = 2;
  for (const auto& [argument, value] : operands)
    if (argument == DNNL_ARG_WEIGHTS) rank = value.desc.get_ndims();
  if (op.kind == "matmul") return 1 << (rank - 1);
  return op.Number("groups") > 1 ? 3 : 1;
}

}  // namespace

void Builder::AddScales(const Op& op, const Arguments& operands, Epilogue* epilogue) const {
  static const std::map<std::string, int> arguments = {{"source", DNNL_ARG_ATTR_SCALES | DNNL_ARG_SRC},
                                                       {"other", DNNL_ARG_ATTR_SCALES | DNNL_ARG_SRC_1},
                                                       {"weights", DNNL_ARG_ATTR_SCALES | DNNL_ARG_WEIGHTS},
                                                       {"zero", DNNL_ARG_ATTR_ZERO_POINTS | DNNL_ARG_SRC},
                                                       {"result zero", DNNL_ARG_ATTR_ZERO_POINTS | DNNL_ARG_DST}};
  for (const auto& [name, tensor] : op.scales) {
    int argument = arguments.at(name);
    const Value& value = values_[tensor];
    if (argument & DNNL_ARG_ATTR_SCALES) {
      epilogue->attributes.set_scales_mask(argument & ~DNNL_ARG_ATTR_SCALES, MaskOf(op, value, operands));
    } else {
      epilogue->attributes.set_zero_points_mask(argument & ~DNNL_ARG_ATTR_ZERO_POINTS, 0);
    }
    epilogue->operands.push_back({argument, value});
  }
}

/* Bytes of images come out with their channels last, as convolutions take them. */
void BuildConvert(Builder& builder, const Op& op) {
  if (BuildPixelQuantizer(builder, op)) return;
  const Value source = builder.Get(op.inputs[0]);
  memory::data_type type = builder.Type(op.outputs[0]);
  memory::dims shape = source.desc.get_dims();
  size_t elements = 1;
  for (int64_t dim : shape) elements *= static_cast<size_t>(dim);
  bool dense = source.desc.get_size() == elements * memory::data_type_size(source.desc.get_data_type());
  memory::desc desc = PlainDesc(shape, type);
  if (memory::data_type_size(type) == 1 && shape.size() > 2 && shape.size() < 6) {
    desc = ChannelsLastDesc(shape, type);
  } else if (IsStrided(source.desc) && dense) {
    desc = Retyped(source.desc, type);
  }
  Value result = builder.New(desc);
  builder.AddCopy(source, result, &op);
  builder.Set(op.outputs[0], result);
}

}  // namespace byoc_dnnl
