"""Convolution over positions that are moved by offsets computed at run time (Dai et al., "Deformable Convolutional
Networks", 2017): the samples are gathered, then multiplied by the weights."""

from __future__ import annotations

import itertools

import numpy as np
from tvm import relax

from byoc.importer.lowerings.convolution import add_bias
from byoc.importer.lowerings.reshape import shape_expr
from byoc.importer.lowerings.window import Window
from byoc.importer.node_view import NodeView
from byoc.importer.table import lowers
from byoc.importer.values import Value, constant

op = relax.op


@lowers("DeformConv")
def _deformable_convolution(view: NodeView) -> Value:
    """X [N, C, H, W], W [O, C/group, kernel], offset [N, groups * kernel * 2, H', W'], B [O], mask."""
    dims = [*view.shape(0), *view.shape(1), *view.shape(2)]
    if len(view.shape(0)) != 4 or not all(isinstance(dim, int) for dim in dims):
        view.refuse(f"its input has the shape {[str(d) for d in view.shape(0)]}; the importer takes images of one size")
    batch, channels, *_ = (int(d) for d in view.shape(0))
    outputs, width, *kernel = (int(d) for d in view.shape(1))
    rows, columns = (int(d) for d in view.shape(2)[2:])
    groups, parts, taps = view.attribute("group", 1), view.attribute("offset_group", 1), int(np.prod(kernel))
    if view.shape(2)[1] != parts * taps * 2 or channels % parts or channels != width * groups:
        view.refuse(
            f"its offsets {view.shape(2)} do not fit a kernel {kernel} in {parts} groups of {channels} channels"
        )
    places = _places(view, Window(view, kernel), [batch, parts, taps, rows, columns])
    samples = _samples(view, places, [batch, parts, channels // parts, taps * rows * columns])
    if view.has(4):
        mask = view.emit(op.reshape(view.tensor(4), shape_expr([batch, parts, 1, taps * rows * columns])))
        samples = view.emit(op.multiply(samples, mask))
    flat = view.emit(op.reshape(samples, shape_expr([batch, groups, width * taps, rows * columns])))
    weight = view.emit(op.reshape(view.tensor(1), shape_expr([1, groups, outputs // groups, width * taps])))
    result = view.emit(op.matmul(weight, flat))
    result = view.emit(op.reshape(result, shape_expr([batch, outputs, rows, columns])))
    return _with_bias(view, result)


def _with_bias(view: NodeView, result: relax.Expr) -> Value:
    view.inputs = [*view.inputs[:2], view.inputs[3] if view.has(3) else None]
    return add_bias(view, result, 2)


def _places(view: NodeView, window: Window, shape: list[int]) -> list[relax.Expr]:
    """Per axis, where each tap reads, in input positions: [N, parts, taps, H', W']."""
    batch, parts, taps, rows, columns = shape
    offsets = view.emit(op.reshape(view.tensor(2), shape_expr([batch, parts, taps, 2, rows, columns])))
    dtype = view.builder.numpy_dtype_of(view.value(0))
    places = []
    for axis, count in enumerate((rows, columns)):
        view.allow_table(int(taps), int(rows), int(columns), what="a table of what each window reads")
        base = np.zeros((taps, rows, columns))
        for tap, at in enumerate(itertools.product(*(range(k) for k in window.kernel))):
            starts = np.arange(count) * window.strides[axis] - window.before[axis]
            line = starts + at[axis] * window.dilations[axis]
            base[tap] = line[:, None] if axis == 0 else line[None, :]
        moved = view.emit(op.squeeze(view.emit(op.strided_slice(offsets, [3], [axis], [axis + 1])), [3]))
        places.append(view.emit(op.add(moved, constant(base.astype(dtype)))))
    return places


def _samples(view: NodeView, places: list[relax.Expr], shape: list[int]) -> relax.Expr:
    """The input between its positions, by the four around; what is outside counts as 0: [N, parts, channels, all]."""
    batch, parts, channels, count = shape
    extents = [int(d) for d in view.shape(0)[2:]]
    dtype = view.dtype(0)
    image = view.emit(op.reshape(view.tensor(0), shape_expr([batch, parts, channels, extents[0] * extents[1]])))
    flat = [view.emit(op.reshape(place, shape_expr([batch, parts, 1, count]))) for place in places]
    low = [view.emit(op.floor(place)) for place in flat]
    total = None
    for corner in itertools.product((0, 1), repeat=2):
        weight, index = None, None
        for axis, side in enumerate(corner):
            at = view.emit(op.add(low[axis], relax.const(float(side), dtype)))
            near = op.subtract(relax.const(1.0, dtype), op.abs(op.subtract(flat[axis], at)))
            last = relax.const(float(extents[axis] - 1), dtype)
            inside = op.logical_and(op.greater_equal(at, relax.const(0.0, dtype)), op.less_equal(at, last))
            share = view.emit(op.where(view.emit(inside), view.emit(near), relax.const(0.0, dtype)))
            weight = share if weight is None else view.emit(op.multiply(weight, share))
            whole = op.astype(op.minimum(op.maximum(at, relax.const(0.0, dtype)), last), "int64")
            whole = view.emit(whole)
            index = (
                whole
                if index is None
                else view.emit(op.add(op.multiply(index, relax.const(extents[1], "int64")), whole))
            )
        index = view.emit(op.broadcast_to(index, shape_expr([batch, parts, channels, count])))
        term = view.emit(op.multiply(view.emit(op.gather_elements(image, index, 3)), weight))
        total = term if total is None else view.emit(op.add(total, term))
    return total
