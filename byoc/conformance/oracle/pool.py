"""Pooling of any rank, channels first."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from byoc.conformance.oracle.define import Arrays, Attrs, Definition, wide
from byoc.conformance.oracle.linear import padding, spatial


def windows(x: np.ndarray, attrs: Attrs, fill: float) -> tuple[list[np.ndarray], list[int]]:
    """The input shifted to every place of the window, and the output's spatial size."""
    rank = x.ndim - 2
    window, strides = spatial(attrs["pool_size"], rank, 1), spatial(attrs.get("strides"), rank, 1)
    dilation, pads = spatial(attrs.get("dilation"), rank, 1), padding(attrs.get("padding", 0), rank)
    size, grown = [], []
    for i in range(rank):
        room = x.shape[2 + i] + sum(pads[i]) - dilation[i] * (window[i] - 1) - 1
        n = (-(-room // strides[i]) if attrs.get("ceil_mode") else room // strides[i]) + 1
        needed = (n - 1) * strides[i] + dilation[i] * (window[i] - 1) + 1
        size.append(n)
        grown.append((pads[i][0], max(pads[i][1], needed - x.shape[2 + i] - pads[i][0])))
    x = np.pad(x, ((0, 0), (0, 0), *grown), constant_values=fill)
    shifted = []
    leading: tuple[Any, ...] = (slice(None), slice(None))
    for place in product(*(range(k) for k in window)):
        index = tuple(
            slice(p * d, p * d + s * (n - 1) + 1, s) for p, d, s, n in zip(place, dilation, strides, size, strict=True)
        )
        shifted.append(x[leading + index])
    return shifted, size


def _max_pool(arrays: Arrays, attrs: Attrs) -> Any:
    x = arrays[0]
    if x.dtype.kind in "iu":
        return np.max(windows(x, attrs, np.iinfo(x.dtype).min)[0], 0)
    return np.max(windows(wide(x), attrs, -np.inf)[0], 0)


def _avg_pool(arrays: Arrays, attrs: Attrs) -> Any:
    """What lies beyond the padding (in ceil mode) never counts; the padding counts if `count_include_pad`."""
    x = wide(arrays[0])
    total = np.sum(windows(x, attrs, 0.0)[0], 0)
    ones = np.ones_like(x)
    if attrs.get("count_include_pad"):
        pads = padding(attrs.get("padding", 0), x.ndim - 2)
        ones = np.pad(ones, ((0, 0), (0, 0), *pads), constant_values=1.0)
        return total / np.sum(windows(ones, {**attrs, "padding": 0}, 0.0)[0], 0)
    return total / np.sum(windows(ones, attrs, 0.0)[0], 0)


def _adaptive(arrays: Arrays, attrs: Attrs) -> Any:
    """Cell i of n covers the inputs from floor(i * size / n) to ceil((i + 1) * size / n)."""
    x = wide(arrays[0])
    rank = x.ndim - 2
    size = x.shape[2:] if attrs.get("output_size") is None else spatial(attrs["output_size"], rank, 1)
    result = np.zeros((*x.shape[:2], *size))
    leading: tuple[Any, ...] = (slice(None), slice(None))
    for place in product(*(range(n) for n in size)):
        window = tuple(
            slice(i * total // n, -(-(i + 1) * total // n))
            for i, n, total in zip(place, size, x.shape[2:], strict=True)
        )
        result[leading + place] = x[leading + window].mean(tuple(range(2, x.ndim)))
    return result


def _window(arrays: Arrays, result: Any) -> int:
    return max(1, int(np.prod(arrays[0].shape[2:])))


OPS: dict[str, Definition] = {
    **{f"nn.max_pool{rank}d": Definition(_max_pool) for rank in (1, 2, 3)},
    **{f"nn.avg_pool{rank}d": Definition(_avg_pool, "sum", _window) for rank in (1, 2, 3)},
    **{f"nn.adaptive_avg_pool{rank}d": Definition(_adaptive, "sum", _window) for rank in (1, 2, 3)},
}
