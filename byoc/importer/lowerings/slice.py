"""Slices: bounds may be constant, symbolic, or computed at run time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tvm import relax, tirx

from byoc.importer.lowerings.reshape import INT64_MAX, as_expr
from byoc.importer.node_view import NodeView
from byoc.importer.table import lowers
from byoc.importer.values import Dim, Value, constant


def _show(dims: Sequence[Dim]) -> str:
    return f"[{', '.join(map(str, dims))}]"


@lowers("Slice")
def _slice(view: NodeView) -> Value:
    if len(view.inputs) == 1:
        starts, ends = view.attribute("starts"), view.attribute("ends")
        axes, steps = view.attribute("axes"), None
    else:
        starts, ends = view.elements(1), view.elements(2)
        axes, steps = view.elements(3), view.elements(4)
        if starts is None or ends is None or (view.has(3) and axes is None) or (view.has(4) and steps is None):
            return _slice_at_run_time(view)
    axes = [view.axis(axis, view.rank(0)) for axis in (axes or range(len(starts)))]
    steps = steps or [1] * len(starts)
    if not all(isinstance(step, int) and step for step in steps):
        view.refuse(f"its steps {_show(steps)} are not all known and other than 0")
    dims = view.shape(0)
    tensor = view.value(0)
    forward = [place for place, step in enumerate(steps) if step > 0]
    bounds: dict[int, tuple[Dim, Dim]] = {}
    for place in forward:
        bound = _forward_bounds(view, dims[axes[place]], starts[place], ends[place])
        if bound is None:
            return _slice_at_run_time(view)
        bounds[place] = bound
    cut = [place for place in forward if not _is_whole(view, dims[axes[place]], *bounds[place], steps[place])]
    if cut:
        first, last = ([_prim(bounds[place][side]) for place in cut] for side in (0, 1))
        tensor = view.emit(
            relax.op.strided_slice(
                view.builder.as_tensor(tensor),
                [axes[p] for p in cut],
                first,
                last,
                [steps[p] for p in cut],
                assume_inbound=True,
            )
        )
    for place, step in enumerate(steps):
        if step < 0:
            bound = (starts[place], ends[place])
            tensor = view.emit(
                _backward_slice(view, view.builder.as_tensor(tensor), axes[place], dims[axes[place]], bound, step)
            )
    return tensor


def _is_whole(view: NodeView, extent: Dim, start: Dim, end: Dim, step: int) -> bool:
    return step == 1 and isinstance(start, int) and start == 0 and bool(view.extents.equal(end, extent))


def _prim(value: Dim) -> relax.Expr | int:
    return value if isinstance(value, int) else relax.prim_value(value)


def _forward_bounds(view: NodeView, extent: Dim, start: Dim, end: Dim) -> tuple[Dim, Dim] | None:
    """Start and end counted from the front, 0 <= start <= end <= extent; None if a sign is not known at import."""
    first, last = _from_front(view, extent, start), _from_front(view, extent, end)
    if first is None or last is None:
        return None
    ordered = view.extents.at_least(last, first, usual=True)
    first, last = _clamp(view, extent, first), _clamp(view, extent, last)
    if not ordered and not view.extents.at_least(last, first, usual=True):
        last = view.extents.simplify(tirx.max(as_expr(first), as_expr(last)))
    return first, last


def _from_front(view: NodeView, extent: Dim, value: Dim) -> Dim | None:
    if isinstance(value, int) and abs(value) >= INT64_MAX // 2:
        return extent if value > 0 else 0
    negative = view.extents.at_least(-1, value, usual=True)
    if negative is None:
        return None
    return view.extents.simplify(value + extent) if negative else value


def _clamp(view: NodeView, extent: Dim, value: Dim) -> Dim:
    extents = view.extents
    if not extents.at_least(value, 0, usual=True):
        value = extents.simplify(tirx.max(as_expr(value), as_expr(0)))
    if not extents.at_least(extent, value, usual=True):
        value = extents.simplify(tirx.min(as_expr(value), as_expr(extent)))
    return value


def _backward_slice(
    view: NodeView, tensor: relax.Expr, axis: int, extent: Dim, bounds: tuple[Dim, Dim], step: int
) -> relax.Expr:
    """One dimension, walked backwards."""
    start, end = bounds
    if isinstance(extent, int) and isinstance(start, int) and isinstance(end, int):
        first, last, _ = slice(start, end, step).indices(extent)
        last = last if last >= 0 else -extent - 1
        return relax.op.strided_slice(tensor, [axis], [first], [last], [step])
    whole = (
        isinstance(start, int)
        and isinstance(end, int)
        and (start == -1 or start >= INT64_MAX // 2)
        and end <= -(INT64_MAX // 2)
    )
    if not whole:
        view.refuse(f"it walks a dimension of symbolic extent {extent} backwards from {start} to {end}")
    flipped = relax.op.flip(tensor, axis)
    if step == -1:
        return flipped
    return relax.op.strided_slice(
        view.emit(flipped), [axis], [0], [relax.prim_value(extent)], [-step], assume_inbound=True
    )


def _slice_at_run_time(view: NodeView) -> Value:
    rank = view.rank(0)
    dims = view.shape(1)
    if len(dims) != 1 or not isinstance(dims[0], int):
        view.refuse('its input "starts" has a length that is not known at import')
    axes = view.elements(3) if view.has(3) else list(range(dims[0]))
    if axes is None or not all(isinstance(axis, int) for axis in axes):
        view.refuse('its input "axes" is computed at run time')
    whole = view.emit(relax.op.shape_to_tensor(view.emit(relax.op.shape_of(view.tensor(0)))))
    places = constant(np.array([view.axis(axis, rank) for axis in axes], np.int64))

    def spread(index: int, default: relax.Expr) -> relax.Expr:
        if not view.has(index):
            return default
        given = view.tensor(index)
        given = given if view.dtype(index) == "int64" else view.emit(relax.op.astype(given, "int64"))
        return view.emit(relax.op.scatter_elements(default, places, given))

    starts = spread(1, constant(np.zeros(rank, np.int64)))
    ends = spread(2, whole)
    steps = spread(4, constant(np.ones(rank, np.int64)))
    result = view.emit(relax.op.dynamic_strided_slice(view.tensor(0), starts, ends, steps))
    known = view.builder.shape_of(view.value(0)) or [None] * rank
    touched = {view.axis(axis, rank) for axis in axes}
    shape = [view.builder.fresh_symbol() if dim is None or axis in touched else dim for axis, dim in enumerate(known)]
    return view.builder.name_extents(result, relax.TensorType(shape, view.dtype(0)))
