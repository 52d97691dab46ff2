"""Max pooling that also tells where the maxima are."""

from __future__ import annotations

import math

import numpy as np
from tvm import relax

from byoc.importer.lowerings.reshape import shape_expr
from byoc.importer.lowerings.window import Window
from byoc.importer.node_view import NodeView
from byoc.importer.table import Results
from byoc.importer.values import constant

op = relax.op


def pool_with_places(view: NodeView, window: Window) -> Results:
    """Maxima, and their indices in the flattened input: row-major, or column-major within an image (storage_order)."""
    dims = view.shape(0)
    if not all(isinstance(dim, int) for dim in dims):
        view.refuse(f"its indices of maxima are used, and its input has the symbolic shape {[str(d) for d in dims]}")
    images, extents = int(np.prod([int(d) for d in dims[:2]])), [int(d) for d in dims[2:]]
    size = int(np.prod(extents))
    dtype = view.builder.numpy_dtype_of(view.value(0))
    taps, shape = _taps(window, extents)
    names = _names(extents, bool(view.attribute("storage_order", 0)))
    flat = view.emit(op.reshape(view.tensor(0), shape_expr([images, size])))
    lowest = constant(np.full((images, 1), _least(dtype), dtype))  # stands for the padding
    flat = view.emit(op.concat([flat, lowest], 1))
    windows = view.emit(op.take(flat, constant(taps), 1, mode="wrap"))  # [images, results, taps]
    best = view.emit(op.argmax(windows, 2, True))
    values = view.emit(op.gather_elements(windows, best, 2))
    view.allow_table(images, *taps.shape, what="a table of the place of each value")
    every = np.broadcast_to(np.append(names, 0)[taps], (images, *taps.shape)).copy()
    places = view.emit(op.gather_elements(constant(every), best, 2))
    offsets = (np.arange(images) * size).reshape(-1, 1, 1)
    places = view.emit(op.add(places, constant(offsets)))
    whole = shape_expr([*dims[:2], *shape])
    return [view.emit(op.reshape(values, whole)), view.emit(op.reshape(places, whole))]


def _least(dtype: np.dtype) -> float:
    return np.iinfo(dtype).min if dtype.kind in "iu" else -np.inf


def _taps(window: Window, extents: list[int]) -> tuple[np.ndarray, list[int]]:
    """Per result and tap, the position in the flattened image (its size: in the padding), and the results' shape."""
    per_axis, shape = [], []
    for axis, extent in enumerate(extents):
        padded = extent + window.before[axis] + window.after[axis]
        steps = (padded - window.span(axis)) / window.strides[axis]
        count = int(np.ceil(steps) if window.ceil else np.floor(steps)) + 1
        if window.ceil and (count - 1) * window.strides[axis] >= extent + window.before[axis]:
            count -= 1
        window.view.allow_table(count, window.kernel[axis], what="a table of what each window reads")
        starts = np.arange(count) * window.strides[axis] - window.before[axis]
        per_axis.append(starts[:, None] + np.arange(window.kernel[axis]) * window.dilations[axis])
        shape.append(count)
    rank = len(extents)
    window.view.allow_table(*shape, *window.kernel, what="a table of what each window reads")
    flat, inside = np.zeros([1] * (2 * rank), np.int64), np.ones([1] * (2 * rank), bool)
    for axis, (places, extent) in enumerate(zip(per_axis, extents, strict=True)):
        spread = [1] * (2 * rank)
        spread[axis], spread[rank + axis] = places.shape
        places = places.reshape(spread)
        flat, inside = flat * extent + places, inside & (places >= 0) & (places < extent)
    table = np.where(inside, flat, math.prod(extents))
    return table.reshape(math.prod(shape), math.prod(window.kernel)), shape


def _names(extents: list[int], column_major: bool) -> np.ndarray:
    """What the node calls each position of the flattened image."""
    size = int(np.prod(extents))
    if not column_major:
        return np.arange(size, dtype=np.int64)
    return np.arange(size, dtype=np.int64).reshape(extents[::-1]).T.reshape(-1)
