"""Reductions, arg-reductions, sorting and running sums."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tvm import relax

from byoc.importer.lowerings.reshape import shape_expr
from byoc.importer.node_view import NodeView
from byoc.importer.table import Results, lowers
from byoc.importer.values import Value, constant

op = relax.op
Reduction = Callable[[relax.Expr, "list[int]", bool], relax.Expr]


def _log_sum_exp(x: relax.Expr, axes: list[int], keep: bool) -> relax.Expr:
    peak = op.max(x, axes, keepdims=True)
    total = op.add(op.log(op.sum(op.exp(op.subtract(x, peak)), axes, keepdims=True)), peak)
    return total if keep else op.squeeze(total, axes)


_REDUCTIONS: dict[str, Reduction] = {
    "ReduceSum": op.sum,
    "ReduceMean": op.mean,
    "ReduceMax": op.max,
    "ReduceMin": op.min,
    "ReduceProd": op.prod,
    "ReduceL1": lambda x, axes, keep: op.sum(op.abs(x), axes, keep),
    "ReduceL2": lambda x, axes, keep: op.sqrt(op.sum(op.multiply(x, x), axes, keep)),
    "ReduceSumSquare": lambda x, axes, keep: op.sum(op.multiply(x, x), axes, keep),
    "ReduceLogSum": lambda x, axes, keep: op.log(op.sum(x, axes, keep)),
    "ReduceLogSumExp": _log_sum_exp,
}
_ONE_ELEMENT = {  # what a reduction over no axes at all makes of each element
    "ReduceL1": op.abs,
    "ReduceL2": op.abs,
    "ReduceSumSquare": lambda x: op.multiply(x, x),
    "ReduceLogSum": op.log,
}


@lowers(*_REDUCTIONS)
def _reduce(view: NodeView) -> Value:
    kind, dtype, rank = view.node.proto.op_type, view.dtype(0), view.rank(0)
    axes = view.ints(1, "axes")
    keep = bool(view.attribute("keepdims", 1))
    nothing = view.attribute("noop_with_empty_axes", 0)
    if (not axes and nothing) or rank == 0:
        return _ONE_ELEMENT[kind](view.tensor(0)) if kind in _ONE_ELEMENT else view.value(0)
    over = sorted({view.axis(axis, rank) for axis in axes}) if axes else list(range(rank))
    if _is_empty(view, over):
        return _of_nothing(view, kind, over, keep)
    x = view.tensor(0)
    wide = (
        "int32"
        if dtype == "bool"
        else "float64"
        if kind in ("ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMean") and "int" in dtype
        else dtype
    )
    x = x if wide == dtype else view.emit(op.astype(x, wide))
    result = view.emit(_REDUCTIONS[kind](x, over, keep))
    return result if wide == dtype else op.astype(result, dtype)


def _is_empty(view: NodeView, axes: list[int]) -> bool:
    dims = view.builder.shape_of(view.value(0)) or []
    return any(isinstance(dims[axis], int) and dims[axis] == 0 for axis in axes if dims)


def _of_nothing(view: NodeView, kind: str, axes: list[int], keep: bool) -> Value:
    """What the standard says of a reduction without elements."""
    dims, dtype = view.shape(0), view.builder.numpy_dtype_of(view.value(0))
    left = [1 if axis in axes else dim for axis, dim in enumerate(dims) if keep or axis not in axes]
    if kind in ("ReduceMean", "ReduceMax", "ReduceMin") and dtype.kind not in "fiu" and dtype.name != "bfloat16":
        view.refuse(f"it reduces a dimension without elements (input shape {dims})")
    real = dtype.kind == "f" or dtype.name == "bfloat16"
    if kind == "ReduceMean":
        if not real:
            view.refuse(f"it takes the mean of a dimension without elements (input shape {dims})")
        value = np.nan
    elif kind in ("ReduceMax", "ReduceMin"):
        low, high = (-np.inf, np.inf) if real else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        value = low if kind == "ReduceMax" else high
    else:
        value = {"ReduceProd": 1, "ReduceLogSum": -np.inf, "ReduceLogSumExp": -np.inf}.get(kind, 0)
        if not real and not np.isfinite(value):
            view.refuse(f"it takes the logarithm of no elements as integers (input shape {dims})")
    return op.full(shape_expr(left), relax.const(value, dtype.name), dtype.name)


@lowers("ArgMax", "ArgMin")
def _arg_extreme(view: NodeView) -> Value:
    dims = view.shape(0)
    axis = view.axis(view.attribute("axis", 0), len(dims))
    keep = bool(view.attribute("keepdims", 1))
    find = op.argmax if view.node.proto.op_type == "ArgMax" else op.argmin
    if not view.attribute("select_last_index", 0):
        return find(view.tensor(0), axis, keep)
    if not isinstance(dims[axis], int):
        view.refuse(f"it selects the last index of a dimension of symbolic extent {dims[axis]}")
    from_back = view.emit(find(op.flip(view.tensor(0), axis), axis, keep))
    return op.subtract(relax.const(dims[axis] - 1, "int64"), from_back)


_SORTABLE = ("float32", "float64", "float16", "int32", "int64", "uint8", "int8")


@lowers("TopK")
def _top_k(view: NodeView) -> Results:
    dims = view.shape(0)
    axis = view.axis(view.attribute("axis", -1), len(dims))
    count = view.attribute("k", 1) if view.version < 10 else int(view.require_known(1, '"K"').reshape(-1)[0])
    if isinstance(dims[axis], int) and count > dims[axis]:
        view.refuse(f"it takes {count} of {dims[axis]} elements")
    if view.dtype(0) not in _SORTABLE:
        view.refuse(f"it sorts {view.dtype(0)} values; TVM sorts {', '.join(_SORTABLE)}")
    view.mark_read("sorted")  # sorted results are valid ones where any order is
    result = view.emit(op.topk(view.tensor(0), count, axis, "both", bool(view.attribute("largest", 1)), "int64"))
    return [view.emit(relax.TupleGetItem(result, index)) for index in (0, 1)]


@lowers("CumSum", "CumProd")
def _running(view: NodeView) -> Value:
    run = op.cumsum if view.node.proto.op_type == "CumSum" else op.cumprod
    axis = view.axis(int(view.require_known(1, '"axis"').reshape(-1)[0]), view.rank(0))
    backwards = view.attribute("reverse", 0)
    x = view.emit(op.flip(view.tensor(0), axis)) if backwards else view.tensor(0)
    total = view.emit(run(x, axis, exclusive=bool(view.attribute("exclusive", 0))))
    return op.flip(total, axis) if backwards else total


@lowers("NonZero")
def _nonzero(view: NodeView) -> Value:
    if view.rank(0) == 0:
        view.refuse("its input is a scalar")
    found = view.emit(op.nonzero(view.tensor(0)))
    kind = relax.TensorType([view.rank(0), view.builder.fresh_symbol()], "int64")
    return view.builder.name_extents(found, kind)


@lowers("OneHot")
def _one_hot(view: NodeView) -> Value:
    depth = int(view.require_known(1, '"depth"').reshape(-1)[0])
    rank = view.rank(0) + 1
    axis = view.axis(view.attribute("axis", -1), rank)
    indices = view.tensor(0)
    if not view.dtype(0).startswith("int"):
        indices = view.emit(op.astype(indices, "int64"))
    dtype = view.builder.dtype_of(indices)
    indices = view.emit(
        op.where(op.less(indices, relax.const(0, dtype)), op.add(indices, relax.const(depth, dtype)), indices)
    )
    view.allow_table(depth, what="a table of its positions")
    shape = [1] * rank
    shape[axis] = depth
    hits = op.equal(op.expand_dims(indices, axis), constant(np.arange(depth).reshape(shape).astype(dtype)))
    values = view.known(2)
    if values is not None:
        off, on = (constant(v) for v in values)
    else:
        off, on = (
            view.emit(op.take(view.tensor(2), relax.const(place, "int64"), axis=0, mode="wrap")) for place in (0, 1)
        )
    return op.where(hits, on, off)


@lowers("LpNormalization")
def _norm(view: NodeView) -> Value:
    axis, order, x = view.axis(view.attribute("axis", -1), view.rank(0)), view.attribute("p", 2), view.tensor(0)
    if order == 1:
        length = op.sum(op.abs(x), [axis], keepdims=True)
    else:
        length = op.sqrt(op.sum(op.multiply(x, x), [axis], keepdims=True))
    zero = relax.const(0, view.dtype(0))
    length = view.emit(length)
    return op.where(op.equal(length, zero), zero, op.divide(x, length))
