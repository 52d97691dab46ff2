"""Weights of a few bits in blocks, the way ONNX Runtime stores them."""

from __future__ import annotations

import numpy as np
from tvm import relax

from byoc.importer.lowerings.reshape import shape_expr
from byoc.importer.node_view import NodeView
from byoc.importer.table import lowers
from byoc.importer.values import Known, Value, constant
from byoc.ops.linear import linear

op = relax.op
_MICROSOFT = "com.microsoft"


def _fields(packed: np.ndarray, bits: int) -> np.ndarray:
    """The integers in bytes of the last axis, lowest bits first."""
    apart = (packed[..., None] >> np.arange(0, 8, bits, dtype=np.uint8)) & ((1 << bits) - 1)
    return apart.reshape(*packed.shape[:-1], -1).astype(np.uint8)


def _packed(fields: np.ndarray, bits: int) -> np.ndarray:
    """Bytes of integers, as :func:`_fields` takes them apart."""
    together = fields.reshape(len(fields), -1, 8 // bits) << np.arange(0, 8, bits, dtype=np.uint8)
    return np.asarray(np.bitwise_or.reduce(together, axis=-1))


@lowers("MatMulNBits", domain=_MICROSOFT)
def _block_product(view: NodeView) -> Value:
    """A, B, scales, zero_points, g_idx, bias.

    With an accuracy_level of 4 a kernel may round A to eight bits in blocks; the others ask for floats.
    """
    inputs, outputs = view.attribute("K"), view.attribute("N")
    bits, block = view.attribute("bits", 4), view.attribute("block_size")
    exact = view.attribute("accuracy_level", 0) != 4
    if view.attribute("weight_prepacked", 0):
        view.refuse("its weights are packed for another machine (weight_prepacked)")
    if bits not in (2, 4, 8) or not block or block % 8:
        view.refuse(f"its weights have {bits} bits in blocks of {block}")
    blocks = -(-inputs // block)
    packed = view.require_known(1, '"B"')
    if packed.size != outputs * blocks * block * bits // 8:
        view.refuse(f"its weights B of shape {list(packed.shape)} are not {outputs} x {inputs} in blocks of {block}")
    packed = packed.reshape(outputs, -1)
    scale = view.require_known(2, '"scales"').reshape(outputs, blocks)
    zero = _zero_points(view, bits, outputs, blocks)
    x = view.tensor(0)
    if blocks * block != inputs:  # the last block is filled up
        x = view.emit(op.nn.pad(x, [0, 0] * (view.rank(0) - 1) + [0, blocks * block - inputs]))
    order = _order(view, inputs, block)
    if order is not None:
        x = view.emit(op.take(x, constant(order), axis=-1, mode="clip"))
        packed = _packed(_fields(packed, bits)[:, order], bits)
    dtype = view.dtype(0)
    if bits in (4, 8) and zero.dtype == np.uint8:
        x = x if dtype == "float32" else view.emit(op.astype(x, "float32"))
        half = scale.astype(np.float16)
        scale = half if (half.astype(scale.dtype) == scale).all() else scale.astype(np.float32)
        arrays = [Known(np.ascontiguousarray(array)).constant for array in (packed, scale, zero)]
        y = view.emit(linear(x, *arrays, bits=bits, group=block, exact=exact))
        y = y if dtype == "float32" else view.emit(op.astype(y, dtype))
    else:
        groups = _fields(packed, bits).reshape(outputs, blocks, block).astype(np.float32)
        weights = (groups - zero.astype(np.float32)[:, :, None]) * scale.astype(np.float32)[:, :, None]
        matrix = np.ascontiguousarray(weights.reshape(outputs, -1).T).astype(view.builder.numpy_dtype_of(view.value(0)))
        y = view.emit(op.matmul(x, constant(matrix)))
    return op.add(y, view.tensor(5)) if view.has(5) else y


def _order(view: NodeView, inputs: int, block: int) -> np.ndarray | None:
    """The inputs sorted by the blocks whose scale they have (g_idx), or None where they lie so; int64[inputs]."""
    if not view.has(4):
        return None
    index = view.require_known(4, '"g_idx"').astype(np.int64)[:inputs]
    order = np.argsort(index, kind="stable")
    places = np.arange(inputs)
    if inputs % block or not np.array_equal(index[order], places // block):
        view.refuse(f'its input "g_idx" does not put {block} inputs into each block')
    return None if np.array_equal(order, places) else order


def _zero_points(view: NodeView, bits: int, outputs: int, blocks: int) -> np.ndarray:
    """[outputs, blocks]: uint8, or floats where some are no integers of ``bits`` bits."""
    if not view.has(3):
        return np.full((outputs, blocks), 1 << (bits - 1), np.uint8)
    given = view.require_known(3, '"zero_points"')
    if given.dtype == np.uint8:
        rows = given.reshape(outputs, -1)
        return np.ascontiguousarray(_fields(rows, bits)[:, :blocks])
    floats = given.reshape(outputs, blocks).astype(np.float32)
    whole = (floats == np.round(floats)) & (floats >= 0) & (floats < 1 << bits)
    return floats.astype(np.uint8) if whole.all() else floats


@lowers("GatherBlockQuantized", domain=_MICROSOFT)
def _block_gather(view: NodeView) -> Value:
    """data, indices, scales, zero_points; rows are gathered first, and dequantised then.

    An index outside the table gives zeros.
    """
    bits, block = view.attribute("bits", 4), view.attribute("block_size", 128)
    data, scales = view.require_known(0, '"data"'), view.require_known(2, '"scales"')
    rank = data.ndim
    quantised, gathered = (view.axis(view.attribute(n, d), rank) for n, d in (("quantize_axis", 1), ("gather_axis", 0)))
    if rank != 2 or quantised != 1 or gathered != 0 or data.dtype != np.uint8 or bits not in (4, 8) or block < 16:
        view.refuse(
            f"it gathers along axis {gathered} of {data.dtype} data {list(data.shape)} of {bits} bits, quantised along "
            f"axis {quantised} in blocks of {block}; the importer takes rows of two-dimensional uint8 data"
        )
    zero = view.require_known(3, '"zero_points"') if view.has(3) else None
    rows, width = data.shape[0], data.shape[1] * 8 // bits
    blocks = scales.shape[1]
    points = np.full((rows, blocks), 1 << (bits - 1), np.uint8) if zero is None else _fields(zero, bits)[:, :blocks]
    indices, dtype = view.tensor(1), view.builder.dtype_of(view.value(2))
    known = view.dtype(1)
    back = view.emit(
        op.where(op.less(indices, relax.const(0, known)), op.add(indices, relax.const(rows, known)), indices)
    )
    shape = view.shape(1)

    def taken(array: np.ndarray) -> relax.Expr:
        return view.emit(op.take(constant(np.ascontiguousarray(array)), back, axis=0, mode="clip"))

    def spread(x: relax.Expr) -> relax.Expr:
        wide = x if blocks == 1 else view.emit(op.repeat(x, block, -1))
        whole = blocks == 1 or blocks * block == width
        return wide if whole else view.emit(op.strided_slice(wide, [len(shape)], [0], [width]))

    bytes_ = taken(data)
    if bits == 4:
        parts = (op.bitwise_and(bytes_, relax.const(15, "uint8")), op.right_shift(bytes_, relax.const(4, "uint8")))
        deep = [view.emit(op.expand_dims(view.emit(part), -1)) for part in parts]
        bytes_ = view.emit(op.reshape(view.emit(op.concat(deep, -1)), shape_expr([*shape, width])))
    centred = op.subtract(op.astype(bytes_, dtype), op.astype(spread(taken(points)), dtype))
    rows_out = view.emit(op.multiply(view.emit(centred), spread(taken(scales))))
    outside = op.logical_or(op.less(back, relax.const(0, known)), op.greater_equal(back, relax.const(rows, known)))
    return op.where(view.emit(op.expand_dims(view.emit(outside), -1)), relax.const(0, dtype), rows_out)
