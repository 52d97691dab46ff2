"""Normalisations."""

from __future__ import annotations

import numpy as np
from tvm import relax

from byoc.importer.lowerings.reshape import shape_expr
from byoc.importer.node_view import NodeView
from byoc.importer.table import Results, lowers
from byoc.importer.values import Value, constant

op = relax.op


@lowers("BatchNormalization")
def _batch_norm(view: NodeView) -> Results:
    if view.version >= 14 and view.attribute("training_mode", 0):
        return _batch_norm_of_batch(view)
    if any(view.uses(index) for index in range(1, 5)):
        view.refuse("its statistics are outputs that are used; the importer takes models for inference")
    if view.version < 9 and not view.attribute("spatial", 1):
        view.refuse("it normalises each position by itself (spatial=0)")
    dtype, epsilon = view.dtype(0), view.attribute("epsilon", 1e-5)
    wide = "float32" if dtype in ("float16", "bfloat16") else dtype
    known = [array.astype(np.float32) for array in map(view.known, range(1, 5)) if array is not None]
    if wide != dtype and len(known) == 4:
        return [_scale_and_shift(view, known, epsilon)]
    tensors = [_as(view, view.tensor(index), view.dtype(index), wide) for index in range(5)]
    result = view.emit(op.nn.batch_norm(*tensors, axis=1, epsilon=epsilon, training=False))
    return [_as(view, view.emit(relax.TupleGetItem(result, 0)), wide, dtype)]


def _batch_norm_of_batch(view: NodeView) -> Results:
    """Training mode: statistics of this very batch, and running ones that take them in."""
    momentum, epsilon, rank = view.attribute("momentum", 0.9), view.attribute("epsilon", 1e-5), view.rank(0)
    axes, column = [axis for axis in range(rank) if axis != 1], [-1, *[1] * (rank - 2)]
    wide = "float32" if view.dtype(0) in ("float16", "bfloat16") else view.dtype(0)
    x = _as(view, view.tensor(0), view.dtype(0), wide)
    mean = view.emit(op.mean(x, axes, keepdims=True))
    centred = view.emit(op.subtract(x, mean))
    variance = view.emit(op.mean(op.multiply(centred, centred), axes, keepdims=True))
    scale, bias = (
        view.emit(op.reshape(_as(view, view.tensor(i), view.dtype(i), wide), [view.shape(0)[1], *column[1:]]))
        for i in (1, 2)
    )
    normal = op.divide(centred, op.sqrt(op.add(variance, relax.const(epsilon, wide))))
    results = [_as(view, view.emit(op.add(op.multiply(normal, scale), bias)), wide, view.dtype(0))]
    for index, now in ((3, mean), (4, variance)):
        dtype = view.dtype(index)
        flat = view.emit(op.reshape(now, [view.shape(0)[1]]))
        new = view.emit(op.multiply(_as(view, flat, wide, dtype), relax.const(1.0 - momentum, dtype)))
        results.append(view.emit(op.add(op.multiply(view.tensor(index), relax.const(momentum, dtype)), new)))
    return results


def _scale_and_shift(view: NodeView, parameters: list[np.ndarray], epsilon: float) -> relax.Expr:
    """Batch norm of 16-bit data: its constants are worked out in 32 bits, which TVM's own operator does not do."""
    scale, bias, mean, variance = parameters
    factor = scale / np.sqrt(variance + np.float32(epsilon))
    dtype = view.builder.numpy_dtype_of(view.value(0))
    shape = [1, -1, *[1] * (view.rank(0) - 2)]
    factors, shifts = (constant(a.astype(dtype).reshape(shape)) for a in (factor, bias - mean * factor))
    return op.add(op.multiply(view.tensor(0), factors), shifts)


def _as(view: NodeView, x: relax.Expr, source: str, target: str) -> relax.Expr:
    return x if source == target else view.emit(op.astype(x, target))


@lowers("LayerNormalization")
def _layer_norm(view: NodeView) -> Results:
    dims = view.shape(0)
    first = view.axis(view.attribute("axis", -1), len(dims))
    axes = list(range(first, len(dims)))
    epsilon = view.attribute("epsilon", 1e-5)
    if view.attribute("stash_type", 1) not in (1, 11):
        view.refuse("it computes its statistics in less than 32 bits (stash_type)")
    dtype = view.dtype(0)
    wide = "float32" if dtype in ("float16", "bfloat16") else dtype
    scale = _normalised_shape(view, 1, dims[first:], 1.0)
    bias = _normalised_shape(view, 2, dims[first:], 0.0)
    y = op.nn.layer_norm(view.tensor(0), scale, bias, axes, epsilon)
    if not (view.uses(1) or view.uses(2)):
        return [y]
    x = _as(view, view.tensor(0), dtype, wide)
    mean = view.emit(op.mean(x, axes, keepdims=True))
    spread = view.emit(op.subtract(x, mean))
    variance = op.mean(op.multiply(spread, spread), axes, keepdims=True)
    return [y, mean, op.divide(relax.const(1.0, wide), op.sqrt(op.add(variance, relax.const(epsilon, wide))))]


def _normalised_shape(view: NodeView, index: int, dims: list, default: float) -> relax.Expr:
    """Scale or bias in the very shape that is normalised."""
    if not view.has(index):
        if not all(isinstance(dim, int) for dim in dims):
            return op.full(shape_expr(dims), relax.const(default, view.dtype(0)), view.dtype(0))
        return relax.const(np.full(dims, default), view.dtype(0))
    shape = view.shape(index)
    if len(shape) == len(dims) and all(view.extents.equal(a, b) for a, b in zip(shape, dims, strict=True)):
        return view.tensor(index)
    return view.emit(op.broadcast_to(view.tensor(index), shape_expr(dims)))


@lowers("RMSNormalization", since=23)
def _rms_norm(view: NodeView) -> Value:
    dims = view.shape(0)
    first = view.axis(view.attribute("axis", -1), len(dims))
    epsilon, dtype = view.attribute("epsilon", 1e-5), view.dtype(0)
    wide = "float32" if view.attribute("stash_type", 1) == 1 and dtype != "float64" else dtype
    x = _as(view, view.tensor(0), dtype, wide)
    if view.rank(1) == 1 and first == len(dims) - 1 and view.extents.equal(view.shape(1)[0], dims[-1]):
        return _as(
            view,
            view.emit(op.nn.rms_norm(x, _as(view, view.tensor(1), view.dtype(1), wide), [-1], epsilon)),
            wide,
            dtype,
        )
    square = op.mean(op.multiply(x, x), list(range(first, len(dims))), keepdims=True)
    normal = view.emit(op.divide(x, op.sqrt(op.add(square, relax.const(epsilon, wide)))))
    return op.multiply(_as(view, normal, wide, dtype), _as(view, view.tensor(1), view.dtype(1), dtype))


@lowers("InstanceNormalization")
def _instance_norm(view: NodeView) -> Value:
    rank = view.rank(0)
    axes = list(range(2, rank))
    if not axes:
        view.refuse("its input has no spatial dimensions")
    return op.nn.instance_norm(view.tensor(0), view.tensor(1), view.tensor(2), 1, axes, view.attribute("epsilon", 1e-5))


@lowers("GroupNormalization", since=18)
def _group_norm(view: NodeView) -> Value:
    groups, epsilon = view.attribute("num_groups"), view.attribute("epsilon", 1e-5)
    if view.attribute("stash_type", 1) != 1:
        view.refuse("it computes its statistics in less than 32 bits (stash_type)")
    dims = view.shape(0)
    channels = dims[1]
    if not isinstance(channels, int) or not groups or channels % groups:
        view.refuse(f"its {channels} channels do not fall into {groups} groups")
    dtype = view.dtype(0)
    wide = "float32" if dtype in ("float16", "bfloat16") else dtype
    scale, bias = (_per_channel(view, index, channels, wide) for index in (1, 2))
    x = _as(view, view.tensor(0), dtype, wide)
    y = view.emit(op.nn.group_norm(x, scale, bias, groups, 1, list(range(2, len(dims))), epsilon))
    return _as(view, y, wide, dtype)


def _per_channel(view: NodeView, index: int, channels: int, wide: str) -> relax.Expr:
    """Opset 18 has one value per group, later ones one per channel."""
    values = _as(view, view.tensor(index), view.dtype(index), wide)
    count = view.shape(index)[0]
    if view.extents.equal(count, channels):
        return values
    return (
        view.emit(op.repeat(values, channels // count, 0))
        if isinstance(count, int)
        else view.refuse("its scale has a symbolic shape")
    )


@lowers("LRN")
def _local_response_norm(view: NodeView) -> Value:
    size, dtype, rank = view.attribute("size"), view.dtype(0), view.rank(0)
    alpha, beta, bias = view.attribute("alpha", 1e-4), view.attribute("beta", 0.75), view.attribute("bias", 1.0)
    x, channels = view.tensor(0), view.shape(0)[1]
    if not isinstance(channels, int):
        view.refuse("its number of channels is symbolic")
    before, after = (size - 1) // 2, size - 1 - (size - 1) // 2
    width = [0, 0, before, after, *[0, 0] * (rank - 2)]
    padded = view.emit(op.nn.pad(op.multiply(x, x), width))
    total = None
    for shift in range(size):
        part = op.strided_slice(padded, [1], [shift], [shift + channels])
        total = view.emit(part if total is None else op.add(total, part))
    base = op.add(op.multiply(total, relax.const(alpha / size, dtype)), relax.const(bias, dtype))
    return op.divide(x, op.power(base, relax.const(beta, dtype)))


@lowers("SkipLayerNormalization", domain="com.microsoft")
def _skip_layer_norm(view: NodeView) -> Results:
    if view.uses(1) or view.uses(2):
        view.refuse("its outputs mean and inv_std_var are used")
    total = op.add(view.tensor(0), view.tensor(1))
    if view.has(4):
        total = op.add(total, view.tensor(4))
    total = view.emit(total)
    dims = view.shape(0)
    bias = view.tensor(3) if view.has(3) else _normalised_shape(view, 3, dims[-1:], 0.0)
    return [op.nn.layer_norm(total, view.tensor(2), bias, [-1], view.attribute("epsilon", 1e-12)), None, None, total]


@lowers("SimplifiedLayerNormalization")
@lowers("SimplifiedLayerNormalization", domain="com.microsoft")
def _simplified_layer_norm(view: NodeView) -> Results:
    if view.uses(1):
        view.refuse("its output inv_std_var is used")
    view.mark_read("stash_type")
    if view.axis(view.attribute("axis", -1), view.rank(0)) != view.rank(0) - 1:
        view.refuse("it normalises more than the last dimension")
    return [op.nn.rms_norm(view.tensor(0), view.tensor(1), [-1], view.attribute("epsilon", 1e-5))]


@lowers("SkipSimplifiedLayerNormalization", domain="com.microsoft")
def _skip_simplified_layer_norm(view: NodeView) -> Results:
    if view.uses(1) or view.uses(2):
        view.refuse("its outputs mean and inv_std_var are used")
    total = op.add(view.tensor(0), view.tensor(1))
    total = view.emit(op.add(total, view.tensor(3)) if view.has(3) else total)
    return [op.nn.rms_norm(total, view.tensor(2), [-1], view.attribute("epsilon", 1e-12)), None, None, total]


@lowers("EmbedLayerNormalization", domain="com.microsoft")
def _embed_layer_norm(view: NodeView) -> Results:
    batch, length = view.shape(0)
    total = view.emit(op.take(view.tensor(2), view.tensor(0), axis=0, mode="wrap"))
    if view.has(8):
        positions = op.take(view.tensor(3), view.tensor(8), axis=0, mode="wrap")
    else:
        last = length if isinstance(length, int) else relax.prim_value(length)
        positions = op.take(view.tensor(3), op.arange(0, last, 1, "int64"), axis=0, mode="wrap")
    total = view.emit(op.add(total, positions))
    if view.has(1) and view.has(4):
        total = view.emit(op.add(total, op.take(view.tensor(4), view.tensor(1), axis=0, mode="wrap")))
    y = op.nn.layer_norm(total, view.tensor(5), view.tensor(6), [-1], view.attribute("epsilon", 1e-12))
    counts = None
    if view.uses(1):
        counts = (
            op.sum(view.tensor(7), [1])
            if view.has(7)
            else op.full(shape_expr([batch]), relax.const(0, "int32"), "int32")
        )
    view.mark_read("mask_index_type")
    return [y, counts, total]
