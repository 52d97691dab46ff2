"""Pooling."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from tvm import relax

from byoc.importer.lowerings.max_places import pool_with_places
from byoc.importer.lowerings.window import Window
from byoc.importer.node_view import NodeView
from byoc.importer.table import Results, lowers
from byoc.importer.values import Known, Value

op = relax.op


@lowers("MaxPool", "AveragePool")
def _pool(view: NodeView) -> Results:
    kernel = view.attribute("kernel_shape") or view.refuse("it has no kernel_shape")
    window = Window(view, kernel)
    maximum = view.node.proto.op_type == "MaxPool"
    if maximum and view.uses(1):
        return pool_with_places(view, window)
    counted = bool(view.attribute("count_include_pad", 0))
    pool = getattr(op.nn, f"{'max' if maximum else 'avg'}_pool{window.rank}d")
    pads, ceil = _ceil_made_explicit(view, window) if window.ceil else (window.pads, False)
    how = (window.kernel, window.strides, pads, window.dilations, ceil, *([] if maximum else [counted]))
    result = pool(view.tensor(0), *how)
    if counted and not maximum and pads != window.pads:
        result = op.multiply(view.emit(result), _share_counted(view, window, pads))
    return [result, None]


def _ceil_made_explicit(view: NodeView, window: Window) -> tuple[list[int], bool]:
    """Pads, and whether TVM is to round up.

    ONNX drops a last window that would start in the padding; TVM keeps it.  Where they differ, pad exactly.
    """
    after = list(window.after)
    for axis in range(window.rank):
        extent = view.shape(0)[2 + axis]
        if not isinstance(extent, int):
            if window.strides[axis] == 1:
                continue
            return window.pads, True
        padded = extent + window.before[axis] + window.after[axis]
        count = math.ceil((padded - window.span(axis)) / window.strides[axis]) + 1
        if (count - 1) * window.strides[axis] >= extent + window.before[axis]:
            count -= 1
        after[axis] = max(0, after[axis] + (count - 1) * window.strides[axis] + window.span(axis) - padded)
    return [*window.before, *after], False


def _share_counted(view: NodeView, window: Window, pads: Sequence[int]) -> relax.Expr:
    """By how much each average is too small because positions beyond the node's own padding were counted."""
    share = np.ones([1, 1, *[1] * window.rank])
    for axis in range(window.rank):
        extent = view.shape(0)[2 + axis]
        if not isinstance(extent, int):
            continue
        padded = extent + window.before[axis] + window.after[axis]
        whole = extent + pads[axis] + pads[axis + window.rank]
        view.allow_table(whole - window.span(axis) + 1, window.kernel[axis], what="a table of what each window covers")
        starts = np.arange(0, whole - window.span(axis) + 1, window.strides[axis])
        taps = starts[:, None] + np.arange(window.kernel[axis]) * window.dilations[axis]
        shape = [1] * (2 + window.rank)
        shape[2 + axis] = len(starts)
        share = share * (window.kernel[axis] / (taps < padded).sum(1)).reshape(shape)
    return Known(share.astype(view.builder.numpy_dtype_of(view.value(0)))).constant


@lowers("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(view: NodeView) -> Value:
    axes = list(range(2, view.rank(0)))
    reduce = op.mean if view.node.proto.op_type == "GlobalAveragePool" else op.max
    return reduce(view.tensor(0), axes, keepdims=True) if axes else view.value(0)


@lowers("GlobalLpPool")
def _global_norm_pool(view: NodeView) -> Value:
    p, dtype = view.attribute("p", 2), view.dtype(0)
    powers = op.power(op.abs(view.tensor(0)), relax.const(p, dtype))
    return op.power(op.sum(powers, list(range(2, view.rank(0))), keepdims=True), relax.const(1.0 / p, dtype))


@lowers("LpPool")
def _norm_pool(view: NodeView) -> Value:
    window = Window(view, view.attribute("kernel_shape"))
    p, dtype = view.attribute("p", 2), view.dtype(0)
    x = view.emit(op.power(op.abs(view.tensor(0)), relax.const(p, dtype)))
    pads = window.pads
    if window.ceil:
        pads, still = _ceil_made_explicit(view, window)
        if still:
            view.refuse("it has ceil_mode and a symbolic spatial extent")
    pool = getattr(op.nn, f"avg_pool{window.rank}d")
    mean = view.emit(pool(x, window.kernel, window.strides, pads, window.dilations, False, True))
    return op.power(op.multiply(mean, relax.const(math.prod(window.kernel), dtype)), relax.const(1.0 / p, dtype))
