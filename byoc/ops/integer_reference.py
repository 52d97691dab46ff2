"""What the integer ops compute, in Relax ops: `byoc.quant.fixed_point` with arrays that TVM compiles."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax

from byoc.ops import integer
from byoc.ops.integer import attributes, is_wide
from byoc.ops.register import byoc_op

op = relax.op


def requantised(
    builder: Any, total: Any, attrs: dict[str, Any], channel_axis: int | None = None, entries: np.ndarray | None = None
) -> Any:
    """``clip(total * multiplier * 2**-shift + y_zero, low, high)``, ties to even, as ``out_dtype``.

    `entries` says which multiplier and shift each place of the last axes has, where these are not the channels'.
    """

    def channels(values: Any) -> Any:
        array = np.array(values, "int64")
        if entries is not None:
            return relax.const(array[entries], "int64")
        if array.size == 1:
            return relax.const(array.reshape(()), "int64")
        shape = [1] * len(total.ty.shape.values)
        shape[channel_axis if channel_axis is not None else -1] = -1
        return relax.const(array.reshape(shape), "int64")

    shift = channels(attrs["shift"])
    below = channels([2 ** (s - 1) - 1 for s in attrs["shift"]])
    product = builder.emit(op.multiply(op.astype(total, "int64"), channels(attrs["multiplier"])))
    return _rounded(builder, product, shift, below, attrs)


def _rounded(builder: Any, product: Any, shift: Any, below: Any, attrs: dict[str, Any]) -> Any:
    odd = op.bitwise_and(op.right_shift(product, shift), relax.const(1, "int64"))
    rounded = op.right_shift(op.add(op.add(product, below), odd), shift)
    shifted = builder.emit(op.add(rounded, relax.const(attrs["y_zero"], "int64")))
    low, high = relax.const(attrs["low"], "int64"), relax.const(attrs["high"], "int64")
    return op.astype(op.minimum(op.maximum(shifted, low), high), attrs["out_dtype"])


def _centred(builder: Any, x: Any, zero: int, dtype: str) -> Any:
    wide = op.astype(x, dtype)
    return builder.emit(op.subtract(wide, relax.const(zero, dtype)) if zero else wide)


@byoc_op("qlinear_conv", ["x", "w", "bias"], infer=integer.conv_type)
def qlinear_conv(builder: Any, call: Any) -> Any:
    attrs, (x, w, bias) = attributes(call), call.args
    total = "int64" if is_wide(call) else "int32"
    rank = len(w.ty.shape.values) - 2
    compute = {1: op.nn.conv1d, 2: op.nn.conv2d, 3: op.nn.conv3d}[rank]
    sums = builder.emit(
        compute(
            _centred(builder, x, attrs["x_zero"], total),
            builder.emit(op.astype(w, total)),
            attrs["strides"],
            attrs["padding"],
            attrs["dilation"],
            attrs["groups"],
            out_dtype=total,
        )
    )
    shape = [1, w.ty.shape.values[0], *[1] * rank]
    wide_bias = builder.emit(op.reshape(op.astype(bias, total), shape))
    return requantised(builder, builder.emit(op.add(sums, wide_bias)), attrs, 1)


@byoc_op("qlinear_matmul", ["x", "w", "bias"], infer=integer.matmul_type)
def qlinear_matmul(builder: Any, call: Any) -> Any:
    attrs, (x, w, bias) = attributes(call), call.args
    total = "int64" if is_wide(call) else "int32"
    left = _centred(builder, x, attrs["x_zero"], total)
    sums = builder.emit(op.matmul(left, builder.emit(op.astype(w, total)), out_dtype=total))
    return requantised(builder, builder.emit(op.add(sums, op.astype(bias, total))), attrs)


@byoc_op("qlinear_add", ["a", "b"], infer=integer.same_shape_type)
def qlinear_add(builder: Any, call: Any) -> Any:
    attrs, (a, b) = attributes(call), call.args
    products = [
        builder.emit(op.multiply(_centred(builder, x, attrs[zero], "int64"), relax.const(multiplier, "int64")))
        for x, zero, multiplier in zip((a, b), ("a_zero", "b_zero"), attrs["multiplier"], strict=True)
    ]
    (shift,) = attrs["shift"]
    below = relax.const(2 ** (shift - 1) - 1, "int64")
    return _rounded(builder, builder.emit(op.add(*products)), relax.const(shift, "int64"), below, attrs)


@byoc_op("requantize", ["x"], infer=integer.same_shape_type)
def requantize(builder: Any, call: Any) -> Any:
    attrs = attributes(call)
    return requantised(builder, _centred(builder, call.args[0], attrs["x_zero"], "int64"), attrs)


@byoc_op("qlinear_average_pool", ["x"], infer=integer.average_type)
def qlinear_average_pool(builder: Any, call: Any) -> Any:
    """The sum over a window as a depthwise convolution with ones."""
    attrs, x = attributes(call), call.args[0]
    window = list(attrs["pool_size"])
    channels = int(x.ty.shape.values[1])
    compute = {1: op.nn.conv1d, 2: op.nn.conv2d, 3: op.nn.conv3d}[len(window)]
    ones = relax.const(np.ones([channels, 1, *window], "int32"))
    left = _centred(builder, x, attrs["x_zero"], "int32")
    ones_apart = [1] * len(window)
    total = compute(left, ones, attrs["strides"], attrs["padding"], ones_apart, channels, out_dtype="int32")
    if len(attrs["multiplier"]) == 1:
        return requantised(builder, builder.emit(total), attrs)
    counts = integer.window_counts([int(extent) for extent in x.ty.shape.values[2:]], attrs)
    return requantised(builder, builder.emit(total), attrs, entries=counts - 1)


@byoc_op("qlinear_mean", ["x"], infer=integer.mean_type)
def qlinear_mean(builder: Any, call: Any) -> Any:
    attrs, x = attributes(call), call.args[0]
    left = _centred(builder, x, attrs["x_zero"], "int32")
    return requantised(builder, builder.emit(op.sum(left, list(attrs["axes"]), attrs["keepdims"])), attrs)


@byoc_op("matmul_integer", ["x", "x_zero", "w"], infer=integer.matmul_integer_type)
def matmul_integer(builder: Any, call: Any) -> Any:
    x, zero, w = call.args
    left = builder.emit(op.subtract(op.astype(x, "int32"), op.astype(zero, "int32")))
    return op.matmul(left, builder.emit(op.astype(w, "int32")), out_dtype="int32")


@byoc_op("dynamic_quantize", ["x"], infer=integer.dynamic_quantize_type)
def dynamic_quantize(builder: Any, call: Any) -> Any:
    x = call.args[0]
    nothing = relax.const(0.0, "float32")
    low = builder.emit(op.minimum(op.min(x), nothing))
    high = builder.emit(op.maximum(op.max(x), nothing))
    span = builder.emit(op.divide(op.subtract(high, low), relax.const(255.0, "float32")))
    scale = builder.emit(op.where(op.greater(span, nothing), span, relax.const(1.0, "float32")))
    zero = builder.emit(_saturated(op.round(op.negative(op.divide(low, scale)))))
    integers = builder.emit(_saturated(op.add(op.round(op.divide(x, scale)), zero)))
    return relax.Tuple([builder.emit(op.astype(integers, "uint8")), scale, builder.emit(op.astype(zero, "uint8"))])


def _saturated(x: Any) -> Any:
    return op.minimum(op.maximum(x, relax.const(0.0, "float32")), relax.const(255.0, "float32"))
