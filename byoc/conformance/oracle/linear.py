"""Matrix products and convolutions of any rank, channels first."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from byoc.conformance.oracle.define import Arrays, Attrs, Definition, wide


def spatial(value: Any, rank: int, default: int) -> tuple[int, ...]:
    """An attribute that has one entry for each spatial axis."""
    if value is None:
        value = default
    return (value,) * rank if isinstance(value, int) else tuple(value) * (rank if len(value) == 1 else 1)


def padding(value: Any, rank: int) -> tuple[tuple[int, int], ...]:
    """(before, after) for each spatial axis, of an attribute with one, `rank` or twice `rank` entries."""
    values = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(values) == 1:
        values *= rank
    if len(values) == rank:
        values += values
    return tuple((values[i], values[rank + i]) for i in range(rank))


def _leading() -> tuple[Any, ...]:
    """The whole of the first two axes."""
    return slice(None), slice(None)


def _convolution(arrays: Arrays, attrs: Attrs) -> Any:
    """Data N C spatial, weights O I spatial; cross-correlation, as everywhere in deep learning."""
    x, w = wide(arrays[0]), wide(arrays[1])
    rank = x.ndim - 2
    strides, dilation = spatial(attrs.get("strides"), rank, 1), spatial(attrs.get("dilation"), rank, 1)
    pads, groups = padding(attrs.get("padding", 0), rank), attrs.get("groups", 1)
    x = np.pad(x, ((0, 0), (0, 0), *pads))
    kernel = w.shape[2:]
    size = [(x.shape[2 + i] - dilation[i] * (kernel[i] - 1) - 1) // strides[i] + 1 for i in range(rank)]
    result = np.zeros((x.shape[0], w.shape[0], *size))
    inside, outside, leading = w.shape[1], w.shape[0] // groups, _leading()
    for place in product(*(range(k) for k in kernel)):
        window = tuple(
            slice(p * d, p * d + s * (n - 1) + 1, s) for p, d, s, n in zip(place, dilation, strides, size, strict=True)
        )
        for g in range(groups):
            taken = x[:, g * inside : (g + 1) * inside][leading + window]
            weights = w[g * outside : (g + 1) * outside][leading + place]
            result[:, g * outside : (g + 1) * outside] += np.einsum("nc...,oc->no...", taken, weights)
    return result


def _transposed(arrays: Arrays, attrs: Attrs) -> Any:
    """Data N C spatial, weights I O spatial: the gradient of a convolution with respect to its data."""
    x, w = wide(arrays[0]), wide(arrays[1])
    rank = x.ndim - 2
    strides, dilation = spatial(attrs.get("strides"), rank, 1), spatial(attrs.get("dilation"), rank, 1)
    pads, groups = padding(attrs.get("padding", 0), rank), attrs.get("groups", 1)
    extra = spatial(attrs.get("output_padding"), rank, 0)
    kernel, inside, outside, leading = w.shape[2:], w.shape[0] // groups, w.shape[1], _leading()
    full = [(x.shape[2 + i] - 1) * strides[i] + dilation[i] * (kernel[i] - 1) + 1 + extra[i] for i in range(rank)]
    result = np.zeros((x.shape[0], groups * outside, *full))
    for place in product(*(range(k) for k in kernel)):
        window = tuple(
            slice(p * d, p * d + s * (n - 1) + 1, s)
            for p, d, s, n in zip(place, dilation, strides, x.shape[2:], strict=True)
        )
        for g in range(groups):
            taken = x[:, g * inside : (g + 1) * inside]
            weights = w[g * inside : (g + 1) * inside][leading + place]
            target = result[:, g * outside : (g + 1) * outside][leading + window]
            target += np.einsum("nc...,co->no...", taken, weights)
    cut = tuple(slice(before, size - after) for (before, after), size in zip(pads, full, strict=True))
    return result[_leading() + cut]


def _matmul(arrays: Arrays, attrs: Attrs) -> Any:
    left, right = arrays
    if left.dtype.kind in "iu":
        out = attrs.get("out_dtype") or left.dtype
        return np.matmul(left.astype(np.int64), right.astype(np.int64)).astype(out)
    return np.matmul(wide(left), wide(right))


def _weights(arrays: Arrays, result: Any) -> int:
    return max(1, arrays[1].size // max(1, arrays[1].shape[0]))


_CONVOLUTION = Definition(_convolution, "sum", _weights)
_TRANSPOSED = Definition(_transposed, "sum", lambda a, r: max(1, a[1].size // max(1, a[1].shape[1])))

OPS: dict[str, Definition] = {
    "matmul": Definition(_matmul, "sum", lambda a, r: max(1, a[0].shape[-1] if a[0].ndim else 1)),
    **{f"nn.conv{rank}d": _CONVOLUTION for rank in (1, 2, 3)},
    **{f"nn.conv{rank}d_transpose": _TRANSPOSED for rank in (1, 2, 3)},
}
