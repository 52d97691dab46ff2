"""Image resizing in two dimensions, channels first: ONNX Resize, nearest and linear."""

from __future__ import annotations

from typing import Any

import numpy as np

from byoc.conformance.oracle.define import Arrays, Attrs, Definition, wide


def _places(size: int, out: int, mode: str) -> np.ndarray:
    """Where each output lies on the input's axis."""
    i = np.arange(out, dtype=np.float64)
    if mode == "half_pixel":
        return np.asarray((i + 0.5) * size / out - 0.5)
    if mode == "align_corners":
        return np.asarray(i * (size - 1) / max(out - 1, 1))
    return np.asarray(i * size / out)


_ROUND: dict[str, Any] = {
    "round": lambda p: np.floor(p + 0.5),
    "round_prefer_floor": lambda p: np.ceil(p - 0.5),
    "round_prefer_ceil": lambda p: np.floor(p + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _resize(arrays: Arrays, attrs: Attrs) -> Any:
    x = wide(arrays[0])
    for axis, out in ((2, attrs["size"][0]), (3, attrs["size"][1])):
        size = x.shape[axis]
        places = _places(size, out, attrs["coordinate_transformation_mode"])
        if attrs["method"] == "nearest_neighbor":
            nearest = _ROUND[attrs.get("rounding_method", "round")](places)
            x = np.take(x, np.clip(nearest, 0, size - 1).astype(int), axis)
            continue
        low = np.floor(places)
        shape = [1] * x.ndim
        shape[axis] = out
        share = (places - low).reshape(shape)
        first, second = (np.take(x, np.clip(low + k, 0, size - 1).astype(int), axis) for k in (0, 1))
        x = first * (1 - share) + second * share
    return x


OPS: dict[str, Definition] = {"image.resize2d": Definition(_resize, "transcendental")}
