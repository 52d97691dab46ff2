"""Padding, and moving between depth and space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tvm import relax

from byoc.importer.lowerings.reshape import shape_expr
from byoc.importer.node_view import NodeView
from byoc.importer.table import lowers
from byoc.importer.values import Dim, Value, constant

op = relax.op
_PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


@lowers("Pad")
def _pad(view: NodeView) -> Value:
    rank, computed = view.rank(0), False
    if view.version < 11:
        pads, fill = view.attribute("pads", view.attribute("paddings")), view.attribute("value", 0.0)
        axes = list(range(rank))
    else:
        pads = view.elements(1)
        if pads is None:
            view.refuse('its input "pads" is computed at run time; it must be constant, or follow from shapes')
        fill_array = view.known(2) if view.has(2) else np.zeros(1)
        computed = fill_array is None
        fill = fill_array.reshape(-1)[0].item() if fill_array is not None and fill_array.size else 0.0
        axes = [view.axis(axis, rank) for axis in view.ints(3, "axes") or range(rank)]
    mode = view.attribute("mode", "constant")
    if mode not in _PAD_MODES:
        view.refuse(f'its mode "{mode}" is unknown')
    if len(pads) != 2 * len(axes):
        view.refuse(f"its {len(pads)} pads do not fit {len(axes)} dimensions")
    first: list[Dim] = [0] * rank
    last: list[Dim] = [0] * rank
    for place, axis in enumerate(axes):
        first[axis], last[axis] = pads[place], pads[place + len(axes)]
    if not all(isinstance(p, int) for p in pads):
        return _pad_by_extents(view, mode, first, last)
    before, after = [int(p) for p in first], [int(p) for p in last]
    x = _crop(view, view.tensor(0), before, after)
    width = [max(0, side) for pair in zip(before, after, strict=True) for side in pair]
    if not any(width):
        return x
    if computed and mode == "constant":
        return _pad_with(view, view.emit(x) if isinstance(x, relax.Call) else x, width)
    return op.nn.pad(x, width, _PAD_MODES[mode], fill if mode == "constant" else 0.0)


def _pad_by_extents(view: NodeView, mode: str, before: Sequence[Dim], after: Sequence[Dim]) -> Value:
    """Padding whose widths follow from symbolic extents: constant tensors of these widths are joined on."""
    if mode != "constant" or not all(view.extents.at_least(side, 0) for side in (*before, *after)):
        shown = ", ".join(map(str, (*before, *after)))
        view.refuse(
            f'it pads by [{shown}] in the mode "{mode}"; by symbolic extents it must be constant, and add to it'
        )
    x, dims, dtype = view.tensor(0), view.shape(0), view.dtype(0)
    fill = view.tensor(2) if view.has(2) else constant(np.zeros((), view.builder.numpy_dtype_of(view.value(0))))
    fill = view.emit(op.reshape(fill, shape_expr([])))
    for axis, widths in enumerate(zip(before, after, strict=True)):
        shapes = [[*dims[:axis], width, *dims[axis + 1 :]] for width in widths]
        ends = [
            None if isinstance(width, int) and width == 0 else view.emit(op.full(shape_expr(shape), fill, dtype))
            for width, shape in zip(widths, shapes, strict=True)
        ]
        parts = [part for part in (ends[0], x, ends[1]) if part is not None]
        x = view.emit(op.concat(parts, axis)) if len(parts) > 1 else x
        dims[axis] = view.extents.simplify(widths[0] + dims[axis] + widths[1])
    return x


def _pad_with(view: NodeView, x: relax.Expr, width: Sequence[int]) -> Value:
    """Padding by a value that is computed at run time: zeros first, then that value where nothing of ``x`` is."""
    inside = view.emit(op.nn.pad(view.emit(op.ones_like(x, "int8")), width, "constant", 0))
    fill = view.emit(op.reshape(view.tensor(2), shape_expr([])))
    whole = view.emit(op.nn.pad(x, width, "constant", 0.0))
    return op.where(op.equal(inside, relax.const(1, "int8")), whole, fill)


def _crop(view: NodeView, x: relax.Expr, before: Sequence[int], after: Sequence[int]) -> relax.Expr:
    """Negative pads cut off."""
    axes = [axis for axis in range(len(before)) if before[axis] < 0 or after[axis] < 0]
    if not axes:
        return x
    dims = view.shape(0)
    if not all(isinstance(dims[axis], int) for axis in axes):
        view.refuse("it has negative pads on a dimension of symbolic extent")
    first = [max(0, -before[axis]) for axis in axes]
    last = [int(dims[axis]) + min(0, after[axis]) for axis in axes]
    return view.emit(op.strided_slice(x, axes, first, last))


def _block_size(view: NodeView) -> int:
    block = int(view.attribute("blocksize"))
    if block < 1:
        view.refuse(f"its blocksize {block} must be positive")
    return block


@lowers("DepthToSpace")
def _depth_to_space(view: NodeView) -> Value:
    batch, channels, height, width = view.shape(0)
    block, mode = _block_size(view), view.attribute("mode", "DCR")
    if not isinstance(channels, int) or channels % (block * block):
        view.refuse(f"its {channels} channels do not divide by {block * block}")
    depth = channels // (block * block)
    split, order = {
        "DCR": ([batch, block, block, depth, height, width], [0, 3, 4, 1, 5, 2]),
        "CRD": ([batch, depth, block, block, height, width], [0, 1, 4, 2, 5, 3]),
    }.get(mode) or view.refuse(f'its mode "{mode}" is unknown')
    moved = op.permute_dims(op.reshape(view.tensor(0), shape_expr(split)), order)
    return op.reshape(
        moved, shape_expr([batch, depth, view.extents.simplify(height * block), view.extents.simplify(width * block)])
    )


@lowers("SpaceToDepth")
def _space_to_depth(view: NodeView) -> Value:
    batch, channels, height, width = view.shape(0)
    block, mode = _block_size(view), view.attribute("mode", "DCR")
    if any(isinstance(extent, int) and extent % block for extent in (height, width)):
        view.refuse(f"its image of {height} x {width} does not fall into blocks of {block}")
    rows, columns = (view.extents.simplify(extent // block) for extent in (height, width))
    x = op.reshape(view.tensor(0), shape_expr([batch, channels, rows, block, columns, block]))
    order = {"DCR": [0, 3, 5, 1, 2, 4], "CRD": [0, 1, 3, 5, 2, 4]}.get(mode) or view.refuse(
        f'its mode "{mode}" is unknown'
    )
    return op.reshape(
        op.permute_dims(x, order), shape_expr([batch, view.extents.simplify(channels * block * block), rows, columns])
    )
