"""Reading and writing at indices.  Negative indices count from the back, and no index reads outside its tensor."""

from __future__ import annotations

import math

import numpy as np
import tvm
from tvm import relax

from byoc.importer.lowerings.reshape import shape_expr
from byoc.importer.node_view import NodeView
from byoc.importer.table import lowers
from byoc.importer.values import Dim, Value, constant

op = relax.op


def from_front(view: NodeView, index: int, extents: list[Dim]) -> relax.Expr:
    """Input ``index`` with negative entries counted from the front.

    ``extents``: one for all entries, or one per entry of the last dimension.
    """
    dtype = view.dtype(index)
    known = view.known(index)
    if known is not None and all(isinstance(extent, int) for extent in extents):
        limits = np.array(extents if len(extents) > 1 else extents[0], known.dtype)
        if ((known >= limits) | (known < -limits.astype(np.int64))).any():
            view.refuse(f"an index is out of range for extents {extents}")
        return constant(np.where(known < 0, known + limits, known).astype(known.dtype))
    indices = view.tensor(index)
    if dtype.startswith("uint"):
        return indices
    if all(isinstance(extent, int) for extent in extents):
        limit = constant(np.array(extents if len(extents) > 1 else extents[0], dtype))
    else:
        whole = op.shape_to_tensor(shape_expr(extents))
        limit = whole if len(extents) > 1 else op.reshape(whole, shape_expr([]))
        limit = view.emit(limit if dtype == "int64" else op.astype(limit, dtype))
    return view.emit(op.where(op.less(indices, relax.const(0, dtype)), op.add(indices, limit), indices))


@lowers("Gather")
def _gather(view: NodeView) -> Value:
    dims = view.shape(0)
    axis = view.axis(view.attribute("axis", 0), len(dims))
    known = view.known(1)
    if known is not None and isinstance(dims[axis], int):
        return op.take(view.tensor(0), from_front(view, 1, [dims[axis]]), axis, mode="wrap")
    return op.take(view.tensor(0), view.tensor(1), axis, mode="wrap")  # wraps negative ones, and reads nothing outside


@lowers("GatherElements")
def _gather_elements(view: NodeView) -> Value:
    dims = view.shape(0)
    axis = view.axis(view.attribute("axis", 0), len(dims))
    return op.gather_elements(view.tensor(0), from_front(view, 1, [dims[axis]]), axis)


@lowers("GatherND")
def _gather_nd(view: NodeView) -> Value:
    batch = view.attribute("batch_dims", 0)
    return op.gather_nd(view.tensor(0), from_front(view, 1, _reached(view, batch)), batch)


def _reached(view: NodeView, start: int) -> list[Dim]:
    depth = view.shape(1)[-1]
    if not isinstance(depth, int):
        view.refuse("how many dimensions its indices reach into is not known at import")
    return view.shape(0)[start : start + depth]


_REDUCTIONS = {"none": "update", "add": "add", "mul": "mul", "min": "min", "max": "max"}


@lowers("Scatter", "ScatterElements")
def _scatter_elements(view: NodeView) -> Value:
    dims = view.shape(0)
    axis = view.axis(view.attribute("axis", 0), len(dims))
    reduction = _REDUCTIONS[view.attribute("reduction", "none")]
    indices, shape = from_front(view, 1, [dims[axis]]), view.shape(1)
    if not all(view.extents.equal(a, b) for at, (a, b) in enumerate(zip(dims, shape, strict=True)) if at != axis):
        return _scatter_by_position(view, indices, axis, reduction)
    return op.scatter_elements(view.tensor(0), indices, view.tensor(2), axis=axis, reduction=reduction)


def _scatter_by_position(view: NodeView, indices: relax.Expr, axis: int, reduction: str) -> relax.Expr:
    """For indices smaller than the data: each entry's full position, so that TVM's kernel walks the indices only."""
    shape = view.shape(1)
    if not all(isinstance(dim, int) for dim in shape):
        view.refuse(f"its indices have the symbolic shape {[str(d) for d in shape]}, other than the data's")
    rank, count = len(shape), int(np.prod(shape))
    view.allow_table(rank, *shape, what="a table of its positions")
    grid = np.moveaxis(np.indices(shape), 0, -1).reshape(count, rank)
    dtype = view.dtype(1)
    column = np.zeros((1, rank), bool)
    column[0, axis] = True
    places = op.where(constant(column), op.reshape(indices, shape_expr([count, 1])), constant(grid.astype(dtype)))
    return op.scatter_nd(view.tensor(0), view.emit(places), op.reshape(view.tensor(2), shape_expr([count])), reduction)


@lowers("ScatterND")
def _scatter_nd(view: NodeView) -> Value:
    reduction = _REDUCTIONS[view.attribute("reduction", "none")]
    return op.scatter_nd(view.tensor(0), from_front(view, 1, _reached(view, 0)), view.tensor(2), reduction)


@lowers("Trilu")
def _triangle(view: NodeView) -> Value:
    known = view.known(1) if view.has(1) else np.zeros((), np.int64)
    offset = None if known is None else int(known.reshape(-1)[0])
    upper = view.attribute("upper", 1)
    dims = view.shape(0)
    if offset is not None and all(isinstance(dim, int) for dim in dims) and view.dtype(0) != "bool":
        return (op.triu if upper else op.tril)(view.tensor(0), offset)
    rows = op.reshape(op.arange(0, _prim(dims[-2]), 1, "int64"), shape_expr([dims[-2], 1]))
    columns = op.arange(0, _prim(dims[-1]), 1, "int64")
    distance = op.subtract(columns, rows)
    bound = relax.const(offset, "int64") if offset is not None else op.reshape(view.tensor(1), shape_expr([]))
    kept = (op.greater_equal if upper else op.less_equal)(distance, bound)
    return op.where(kept, view.tensor(0), relax.const(0, view.dtype(0)))


@lowers("EyeLike")
def _eye_like(view: NodeView) -> Value:
    dtype = view.dtype_attribute("dtype") or view.dtype(0)
    rows, columns = view.shape(0)
    row = op.reshape(op.arange(0, _prim(rows), 1, "int64"), shape_expr([rows, 1]))
    distance = op.subtract(op.arange(0, _prim(columns), 1, "int64"), row)
    return op.astype(op.equal(distance, relax.const(view.attribute("k", 0), "int64")), dtype)


@lowers("Range")
def _range(view: NodeView) -> Value:
    dtype = view.dtype(0)
    bounds = [elements[0] for elements in map(view.elements, range(3)) if elements is not None]
    if len(bounds) == 3 and "int" in dtype:
        start, limit, delta = bounds
        if isinstance(delta, int) and delta:
            steps = view.extents.simplify(limit - start if delta > 0 else start - limit)
            count = view.extents.simplify((steps + (abs(delta) - 1)) // abs(delta)) if abs(delta) > 1 else steps
            if not view.extents.at_least(count, 0):
                count = view.extents.simplify(tvm.tirx.max(count, tvm.tirx.IntImm("int64", 0)))
            places = view.emit(op.arange(0, _prim(count), 1, "int64"))
            if delta != 1:
                places = view.emit(op.multiply(places, relax.const(delta, "int64")))
            if not (isinstance(start, int) and start == 0):
                first = op.reshape(op.shape_to_tensor(shape_expr([start])), shape_expr([]))
                places = view.emit(op.add(places, relax.const(start, "int64") if isinstance(start, int) else first))
            return places if dtype == "int64" else op.astype(places, dtype)
    return _range_at_run_time(view, dtype)


def _range_at_run_time(view: NodeView, dtype: str) -> Value:
    from byoc.importer.lowerings.reshape import runtime_shape

    known = [view.known(index) for index in range(3)]
    start, limit, delta = (op.reshape(view.tensor(index), shape_expr([])) for index in range(3))
    if all(array is not None for array in known):
        bounds = [array.astype(np.float64).reshape(-1)[0] for array in known if array is not None]
        if not np.isfinite(bounds).all() or bounds[2] == 0:
            view.refuse(f"it counts from {bounds[0]} to {bounds[1]} in steps of {bounds[2]}")
        places = op.arange(0, max(0, math.ceil((bounds[1] - bounds[0]) / bounds[2])), 1, "int64")
        return op.add(op.multiply(op.astype(view.emit(places), dtype), delta), start)
    exact = "float64" if "float" in dtype else "int64"
    first, last, step = (op.astype(value, exact) for value in (start, limit, delta))
    if exact == "float64":
        count = op.ceil(op.divide(op.subtract(last, first), step))
    else:
        count = op.negative(op.floor_divide(op.subtract(first, last), step))
    count = op.astype(op.maximum(count, relax.const(0, exact)), "int64")
    extent = runtime_shape(view, view.emit(op.reshape(count, shape_expr([1]))), 1).values[0]
    places = op.astype(op.arange(0, _prim(extent), 1, "int64"), dtype)
    return op.add(op.multiply(places, delta), start)


def _prim(dim: Dim) -> relax.Expr | int:
    return dim if isinstance(dim, int) else relax.prim_value(dim)
