"""The integer ops of quantised models; `byoc/ops/integer.py` describes their operands and attributes."""

from __future__ import annotations

from typing import Any

import numpy as np

from byoc.conformance.oracle.define import Arrays, Attrs, Definition, per_axis
from byoc.conformance.oracle.linear import OPS as PRODUCTS
from byoc.conformance.oracle.pool import windows
from byoc.quant.fixed_point import requantise


def _centred(x: np.ndarray, zero: int) -> np.ndarray:
    return x.astype(np.int64) - zero


def _ended(total: np.ndarray, attrs: Attrs, axis: int = -1) -> np.ndarray:
    """The totals in the result's scale: multiplied, shifted with ties to even, clipped."""
    multiplier, shift = (
        per_axis(np.array(attrs[k], np.int64) if len(attrs[k]) > 1 else np.int64(attrs[k][0]), axis, total.ndim)
        for k in ("multiplier", "shift")
    )
    result = requantise(total, multiplier, shift, attrs["y_zero"], attrs["low"], attrs["high"])
    return result.astype(attrs["out_dtype"])


def _conv(arrays: Arrays, attrs: Attrs) -> Any:
    """Sums of float64 are exact below 2**53."""
    x, w, bias = arrays
    given = [_centred(x, attrs["x_zero"]).astype(np.float64), w.astype(np.float64)]
    total = PRODUCTS[f"nn.conv{x.ndim - 2}d"].function(given, attrs)
    return _ended(total.astype(np.int64) + per_axis(bias.astype(np.int64), 1, x.ndim), attrs, 1)


def _matmul(arrays: Arrays, attrs: Attrs) -> Any:
    x, w, bias = arrays
    return _ended(_centred(x, attrs["x_zero"]) @ w.astype(np.int64) + bias, attrs)


def _add(arrays: Arrays, attrs: Attrs) -> Any:
    a, b = (_centred(x, attrs[zero]) for x, zero in zip(arrays, ("a_zero", "b_zero"), strict=True))
    first, second = attrs["multiplier"]
    return _ended(a * first + b * second, {**attrs, "multiplier": (1,)})


def _requantize(arrays: Arrays, attrs: Attrs) -> Any:
    return _ended(_centred(arrays[0], attrs["x_zero"]), attrs)


def _average_pool(arrays: Arrays, attrs: Attrs) -> Any:
    """A multiplier holds the division by the number of elements of a window; several are one for each number."""
    x = _centred(arrays[0], attrs["x_zero"])
    total = np.sum(windows(x, attrs, 0)[0], 0)
    if len(attrs["multiplier"]) == 1:
        return _ended(total, attrs)
    entries = np.sum(windows(np.ones_like(x), attrs, 0)[0], 0) - 1
    multiplier, shift = (np.array(attrs[k], np.int64)[entries] for k in ("multiplier", "shift"))
    result = requantise(total, multiplier, shift, attrs["y_zero"], attrs["low"], attrs["high"])
    return result.astype(attrs["out_dtype"])


def _mean(arrays: Arrays, attrs: Attrs) -> Any:
    total = _centred(arrays[0], attrs["x_zero"]).sum(tuple(attrs["axes"]), keepdims=bool(attrs["keepdims"]))
    return _ended(total, attrs)


def _matmul_integer(arrays: Arrays, _: Attrs) -> Any:
    x, zero, w = (a.astype(np.int32) for a in arrays)
    return (x - zero) @ w


def _dynamic_quantize(arrays: Arrays, _: Attrs) -> Any:
    """ONNX DynamicQuantizeLinear."""
    x = arrays[0].astype(np.float32)
    low, high = min(x.min(), np.float32(0)), max(x.max(), np.float32(0))
    span = (high - low) / np.float32(255)
    scale = span if span > 0 else np.float32(1)
    zero = np.clip(np.rint(-low / scale), 0, 255)
    return np.clip(np.rint(x / scale) + zero, 0, 255).astype(np.uint8), np.float64(scale), zero.astype(np.uint8)


OPS: dict[str, Definition] = {
    "byoc.qlinear_conv": Definition(_conv),
    "byoc.qlinear_matmul": Definition(_matmul),
    "byoc.qlinear_add": Definition(_add),
    "byoc.requantize": Definition(_requantize),
    "byoc.qlinear_average_pool": Definition(_average_pool),
    "byoc.qlinear_mean": Definition(_mean),
    "byoc.matmul_integer": Definition(_matmul_integer),
    "byoc.dynamic_quantize": Definition(_dynamic_quantize, "rounded"),
}
