"""Gathering, scattering, one-hot, triangles."""

from __future__ import annotations

from typing import Any

import numpy as np

from byoc.conformance.oracle.define import Arrays, Attrs, Definition

_REDUCTIONS = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def _scatter_elements(arrays: Arrays, attrs: Attrs) -> Any:
    """ONNX ScatterElements."""
    data, indices, updates = arrays
    result = data.copy()
    axis = attrs.get("axis", 0)
    places = list(np.indices(indices.shape))
    places[axis] = np.where(indices < 0, indices + data.shape[axis], indices)
    _put(result, tuple(places), updates, attrs.get("reduction", "update"))
    return result


def _scatter_nd(arrays: Arrays, attrs: Attrs) -> Any:
    """ONNX ScatterND; the last axis of the indices is the place."""
    data, indices, updates = arrays
    result = data.copy()
    places = tuple(np.moveaxis(indices, -1, 0))
    _put(result, places, updates, attrs.get("reduction", "update"))
    return result


def _put(result: np.ndarray, places: tuple[Any, ...], updates: np.ndarray, reduction: str) -> None:
    if reduction == "update":
        result[places] = updates
    else:
        _REDUCTIONS[reduction].at(result, places, updates)


def _gather_nd(arrays: Arrays, attrs: Attrs) -> Any:
    """ONNX GatherND."""
    data, indices = arrays
    batch = attrs.get("batch_dims", 0)
    if batch == 0:
        return data[tuple(np.moveaxis(indices, -1, 0))]
    pairs = zip(data, indices, strict=True)
    return np.stack([_gather_nd([d, i], {"batch_dims": batch - 1}) for d, i in pairs])


def _take(arrays: Arrays, attrs: Attrs) -> Any:
    return np.take(arrays[0], arrays[1], attrs.get("axis"))


def _gather_elements(arrays: Arrays, attrs: Attrs) -> Any:
    return np.take_along_axis(arrays[0], arrays[1].astype(np.int64), attrs.get("axis", 0))


def _one_hot(arrays: Arrays, attrs: Attrs) -> Any:
    axis = attrs.get("axis", -1)
    hot = np.expand_dims(arrays[0], axis) == _along(attrs["depth"], axis, arrays[0].ndim + 1)
    return np.where(hot, attrs["on_value"], attrs["off_value"])


def _along(depth: int, axis: int, rank: int) -> np.ndarray:
    shape = [1] * rank
    shape[axis] = depth
    return np.arange(depth).reshape(shape)


OPS: dict[str, Definition] = {
    "take": Definition(_take),
    "gather_elements": Definition(_gather_elements),
    "gather_nd": Definition(_gather_nd),
    "scatter_elements": Definition(_scatter_elements, "rounded"),
    "scatter_nd": Definition(_scatter_nd, "rounded"),
    "one_hot": Definition(_one_hot),
    "tril": Definition(lambda a, t: np.tril(a[0], t.get("k", 0))),
    "triu": Definition(lambda a, t: np.triu(a[0], t.get("k", 0))),
}
