"""Affine quantisation: Jacob et al., 2018, section 2.1; rounding to the nearest, halves to even, as ONNX has it."""

from __future__ import annotations

from typing import Any

import numpy as np

from byoc.conformance.oracle.define import Arrays, Attrs, Definition, per_axis, wide


def _quantize(arrays: Arrays, attrs: Attrs) -> Any:
    x, scale, zero = wide(arrays[0]), wide(arrays[1]), arrays[2].astype(np.float64)
    axis = attrs.get("axis", -1)
    target: Any = np.dtype(attrs.get("out_dtype", "int8"))
    limits = np.iinfo(target)
    levels = np.rint(x / per_axis(scale, axis, x.ndim)) + per_axis(zero, axis, x.ndim)
    return np.clip(levels, limits.min, limits.max).astype(target)


def _dequantize(arrays: Arrays, attrs: Attrs) -> Any:
    levels, scale, zero = arrays[0].astype(np.float64), wide(arrays[1]), arrays[2].astype(np.float64)
    axis = attrs.get("axis", -1)
    return (levels - per_axis(zero, axis, levels.ndim)) * per_axis(scale, axis, levels.ndim)


OPS: dict[str, Definition] = {
    "quantize": Definition(_quantize),
    "dequantize": Definition(_dequantize, "rounded"),
}
