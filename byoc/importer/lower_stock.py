"""Which operators go through TVM's converters as they are."""

from byoc.importer.stock import stock

for _operator in """Gemm MatMul MatMulInteger Compress BatchNormalization LayerNormalization RMSNormalization GroupNormalization
    InstanceNormalization LRN Pad AveragePool MaxPool LpPool GlobalAveragePool GlobalMaxPool GlobalLpPool Conv
    ConvTranspose Resize Einsum Unique DepthToSpace SpaceToDepth QuantizeLinear DequantizeLinear
    DynamicQuantizeLinear""".split():
    stock(_operator)
