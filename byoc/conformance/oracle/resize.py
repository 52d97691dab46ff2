"""Image resizing in two dimensions, channels first: ONNX Resize, nearest, linear and cubic."""

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
        taps, weights = _weights(places - low, attrs)
        if attrs["method"] == "cubic" and attrs.get("cubic_exclude"):
            inside = [(low + k >= 0) & (low + k < size) for k in taps]
            weights = [w * i for w, i in zip(weights, inside, strict=True)]
            weights = [w / np.sum(weights, 0) for w in weights]
        shape = [1] * x.ndim
        shape[axis] = out
        taken = [np.take(x, np.clip(low + k, 0, size - 1).astype(int), axis) for k in taps]
        x = sum((v * w.reshape(shape) for v, w in zip(taken, weights, strict=True)), np.zeros(()))
    return x


def _weights(share: np.ndarray, attrs: Attrs) -> tuple[tuple[int, ...], list[np.ndarray]]:
    """Neighbours by their distance from the one below, and what each counts; cubic: Keys, 1981, equation 4."""
    if attrs["method"] == "linear":
        return (0, 1), [1 - share, share]
    a = attrs["cubic_alpha"]

    def near(d: np.ndarray) -> np.ndarray:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: np.ndarray) -> np.ndarray:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return (-1, 0, 1, 2), [far(share + 1), near(share), near(1 - share), far(2 - share)]


OPS: dict[str, Definition] = {"image.resize2d": Definition(_resize, "transcendental")}
