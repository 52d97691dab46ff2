"""Types of the integer ops.

All of them take and give integers; the real value of an integer ``q`` is ``(q - zero) * scale``.  Attributes that
they share:

``x_zero, y_zero``: zero points of input and result; ``a_zero, b_zero`` of two inputs.
``multiplier, shift``: tuples, one entry or one for each channel: the total is multiplied, shifted right with ties to
the even integer, ``y_zero`` added, and clipped to ``low .. high``, which fuses ReLU and the like.
``x_scale, w_scale, y_scale``: the real scales (``w_scale`` a tuple) for hardware that takes those; the integers decide.
``out_dtype``: of the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax

from byoc.compat import attrs_to_dict


def attributes(call: Any) -> dict[str, Any]:
    """The attributes of a call as Python values."""
    return attrs_to_dict(call.attrs)


def is_wide(call: Any) -> bool:
    """Whether totals are counted in 64 bits: some input has more than 8."""
    return any(str(arg.ty.dtype).removeprefix("T.") in ("int16", "uint16") for arg in call.args[:2])


def conv_type(call: Any) -> Any:
    """``byoc.qlinear_conv(x [N, C, spatial...], w [O, C/groups, kernel...], bias int32 [O])``, 1 to 3 axes of space.

    Attributes: ``strides, dilation`` (one entry per axis), ``padding`` (begins, then ends), ``groups``.  ``w`` has no
    zero point.
    """
    attrs = attributes(call)
    x, w = call.args[0].ty.shape, call.args[1].ty.shape
    spatial = []
    for axis in range(len(w.values) - 2):
        extent = x.values[2 + axis] + attrs["padding"][axis] + attrs["padding"][axis + len(w.values) - 2]
        span = (int(w.values[2 + axis]) - 1) * attrs["dilation"][axis] + 1
        spatial.append(_simplified((extent - span) // attrs["strides"][axis] + 1))
    return relax.TensorType([x.values[0], w.values[0], *spatial], attrs["out_dtype"])


def matmul_type(call: Any) -> Any:
    """``byoc.qlinear_matmul(x [..., K], w [K, N], bias int32 [N])``; ``w`` has no zero point."""
    x, w = call.args[0].ty.shape, call.args[1].ty.shape
    return relax.TensorType([*x.values[:-1], w.values[1]], attributes(call)["out_dtype"])


def same_shape_type(call: Any) -> Any:
    """``byoc.qlinear_add(a, b)`` of equal shapes (two multipliers, one shift), ``byoc.requantize(x)``."""
    return relax.TensorType(call.args[0].ty.shape, attributes(call)["out_dtype"])


def average_type(call: Any) -> Any:
    """``byoc.qlinear_average_pool(x [N, C, spatial...])``: ``pool_size, strides, padding``; every window is whole.

    ``multiplier`` and ``shift`` have one entry; where padding does not count, one for each number of elements that a
    window may have, from 1 on (:func:`window_counts`).
    """
    attrs = attributes(call)
    x = call.args[0].ty.shape
    spatial = []
    count = len(attrs["pool_size"])
    for axis in range(count):
        extent = x.values[2 + axis] + attrs["padding"][axis] + attrs["padding"][axis + count]
        spatial.append(_simplified((extent - attrs["pool_size"][axis]) // attrs["strides"][axis] + 1))
    return relax.TensorType([*x.values[:2], *spatial], attrs["out_dtype"])


def window_counts(image: Sequence[int], attrs: Mapping[str, Any]) -> np.ndarray:
    """How many elements of an image (its axes of space) each window has, without padding: int64, like the result."""
    counts = np.ones((), "int64")
    for axis, extent in enumerate(image):
        before, after = attrs["padding"][axis], attrs["padding"][axis + len(image)]
        size, stride = attrs["pool_size"][axis], attrs["strides"][axis]
        begin = np.arange((extent + before + after - size) // stride + 1) * stride - before
        counts = np.multiply.outer(counts, np.minimum(begin + size, extent) - np.maximum(begin, 0))
    return counts


def mean_type(call: Any) -> Any:
    """``byoc.qlinear_mean(x)`` over ``axes``, which are kept with extent 1 where ``keepdims``."""
    attrs = attributes(call)
    shape = []
    for axis, extent in enumerate(call.args[0].ty.shape.values):
        if axis not in attrs["axes"]:
            shape.append(extent)
        elif attrs["keepdims"]:
            shape.append(1)
    return relax.TensorType(shape, attrs["out_dtype"])


def matmul_integer_type(call: Any) -> Any:
    """``byoc.matmul_integer(x [..., K], x_zero [], w [K, N])``: int32 totals of ``(x - x_zero) @ w``."""
    x, w = call.args[0].ty.shape, call.args[2].ty.shape
    return relax.TensorType([*x.values[:-1], w.values[1]], "int32")


def dynamic_quantize_type(call: Any) -> Any:
    """``byoc.dynamic_quantize(x float32)``: (uint8 like x, float32 scale [], uint8 zero []), as ONNX defines it."""
    x = call.args[0].ty
    return relax.TupleType(
        [relax.TensorType(x.shape, "uint8"), relax.TensorType([], "float32"), relax.TensorType([], "uint8")]
    )


def _simplified(extent: Any) -> Any:
    return extent if isinstance(extent, int) else tvm.sym.Analyzer().simplify(extent)
