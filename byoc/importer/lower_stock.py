"""Which operators go through TVM's converters as they are."""

from byoc.importer.stock import stock

for _operator in """Add Sub Mul Div Pow Mod Less LessOrEqual Greater GreaterOrEqual Equal BitwiseAnd BitwiseOr BitwiseXor BitwiseNot
    And Or Xor Not Log Exp Acos Acosh Asin Asinh Atan Atanh Cos Cosh Sin Sinh Tan Tanh Neg Abs Reciprocal Floor Ceil
    Round IsInf IsNaN Sqrt Relu Selu Mish Trilu PRelu LeakyRelu ThresholdedRelu Elu Gelu HardSigmoid HardSwish Sign
    Softplus Softsign Shrink Erf Sum Min Max Mean Cast CastLike Gemm MatMul MatMulInteger Reshape Sigmoid Softmax LogSoftmax Hardmax
    Transpose Unsqueeze Where Concat Clip CumSum Squeeze Gather GatherElements GatherND Scatter ScatterElements
    ScatterND Compress EyeLike BatchNormalization LayerNormalization RMSNormalization GroupNormalization
    InstanceNormalization LRN ReduceMax ReduceMin ReduceSum ReduceMean ReduceProd ReduceLogSumExp ReduceLogSum
    ReduceSumSquare ReduceL1 ReduceL2 ArgMax ArgMin TopK Expand ConstantOfShape Slice Pad Split Tile AveragePool
    MaxPool LpPool GlobalAveragePool GlobalMaxPool GlobalLpPool Conv ConvTranspose Flatten Resize Einsum Range
    OneHot Unique NonZero DepthToSpace SpaceToDepth QuantizeLinear DequantizeLinear DynamicQuantizeLinear""".split():
    stock(_operator)
