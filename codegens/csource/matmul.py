"""Matrix products with broadcast batches, transposed operands, and what follows them."""

from __future__ import annotations

from typing import Any

from byoc_codegens.csource.c_text import FLOATS, INTEGERS, c_helper, int64s, product, short, stored
from byoc_codegens.csource.conv import anchor_of, check_addends, split_addends
from byoc_codegens.csource.epilogue import (
    Epilogue,
    add_epilogue,
    epilogue_literal,
    expanded,
    fused,
    parse_epilogue,
)
from byoc_codegens.csource.family import Kernel
from byoc_codegens.csource.operand import Operand, batch_strides, operand_of
from byoc_codegens.csource.storage import Floats
from byoc_codegens.csource.vector import Isa, add_tiles, pack_columns, pack_rows

from byoc import Match, Value, op, reject

FEW_ROWS = 4
_TYPES = FLOATS - {"bfloat16"} | INTEGERS


def _operands(m: Match) -> tuple[Operand, Operand]:
    out = anchor_of(m, ("matmul",))
    assert out.producer is not None
    inside = {id(n) for n in m.nodes}
    operands = []
    for value, right in zip(out.producer.inputs, (False, True), strict=True):
        transposed = value.producer is not None and id(value.producer) in inside
        tensor = value.producer.inputs[0] if transposed and value.producer else value
        operands.append(operand_of(value, tensor, right))
    return operands[0], operands[1]


def _batch(out: Value, left: Operand, right: Operand) -> tuple[Any, ...]:
    """Batch axes of the result."""
    assert out.shape is not None and out.producer is not None
    vectors = sum(v.rank == 1 for v in out.producer.inputs)
    return tuple(out.shape[: len(out.shape) - (2 - vectors)])


def _check(m: Match) -> Any:
    out = anchor_of(m, ("matmul",))
    assert out.producer is not None
    for value in (*m.inputs, *out.producer.inputs, out):
        if value.shape is None:
            return reject("the rank of a tensor is not known", at=value)
    one, two = out.producer.inputs
    if one.dtype != two.dtype or one.dtype not in _TYPES or out.dtype not in _TYPES:
        return reject(f"matmul of {one.dtype} by {two.dtype} to {out.dtype} is not done", at=one)
    left, right = _operands(m)
    if left.shape[-1] != right.shape[-2]:
        return reject(f"{left.shape[-1]} columns meet {right.shape[-2]} rows", at=right.value)
    batch = _batch(out, left, right)
    for operand in (left, right):
        if batch_strides(operand, batch) is None:
            return reject("whether a batch is broadcast is known only at run time", at=operand.value)
    if len(m.nodes) > 1 and not _is_float(out):
        return reject(f"matmul of {one.dtype} is not fused with other ops", at=one)
    epilogue = parse_epilogue(m, out)
    if isinstance(epilogue, str):
        return reject(epilogue, at=m.out)
    refused = check_addends(epilogue, out, len(out.shape or ()) - 1)
    bias, _ = split_addends(epilogue, out)
    if refused is None and bias is not None and two.rank == 1:
        return reject("a bias cannot follow a product with a vector", at=bias)
    return refused


def _is_float(out: Value) -> bool:
    assert out.producer is not None
    return all(v.dtype in ("float32", "float16") for v in (*out.producer.inputs, out))


def _emit(m: Match) -> str:
    out = anchor_of(m, ("matmul",))
    left, right = _operands(m)
    batch = _batch(out, left, right)
    if not _is_float(out):
        return _emit_direct(m, out, left, right, batch)
    epilogue = parse_epilogue(m, out)
    assert isinstance(epilogue, Epilogue)
    isa, floats = add_tiles(m), Floats(m)
    add_epilogue(m)
    m.helper(c_helper("product"))
    if not right.batch and left.is_row_major:
        left, batch = _one_matrix(left), ()
    rows, depth, columns = left.shape[-2], left.shape[-1], right.shape[-1]
    ending = f"const CsourceEpilogue epilogue = {_ending(floats, epilogue, out, columns)};\n"
    few = _few_rows(m, floats, left, right, batch)
    if few and isinstance(rows, int):
        return floats.around(ending + few)
    packing_left, left_text = _left(m, floats, left, isa)
    packing_right, right_text = _right(m, floats, right, isa)
    strides = [batch_strides(o, batch, 1) or [] for o in (left, right)]
    statements = (
        f"{packing_left}{packing_right}"
        f"csource_product(&(CsourceProduct){{\n"
        f"    .rows = {rows}, .columns = {columns}, .depth = {depth}, .batches = {product(batch)},\n"
        f"    .left = {left_text}, .right = {right_text},\n"
        f"    .rank = {len(batch)}, .extents = {int64s(batch)},\n"
        f"    .left_strides = {int64s(strides[0])}, .right_strides = {int64s(strides[1])},\n"
        f"    .epilogue = &epilogue, .out = {floats.result()}}});"
    )
    if few:
        statements = f"if ({rows} <= CSOURCE_FEW) {{\n{few}\n}} else {{\n{statements}\n}}"
    return floats.around(ending + statements)


def _few_rows(m: Match, floats: Floats, left: Operand, right: Operand, batch: tuple[Any, ...]) -> str:
    """The product without packing, where that may pay; else ``""``."""
    rows, by_columns = left.shape[-2], right.strides[-1] != 1
    if right.value.is_constant or left.value.is_constant or (isinstance(rows, int) and rows > FEW_ROWS):
        return ""
    if by_columns and not (right.strides[-2] == 1 and left.strides[-1] == 1):
        return ""
    m.helper(c_helper("few_rows", few=FEW_ROWS))
    return (
        f"csource_few_rows(&(CsourceFewRows){{\n"
        f"    .rows = {rows}, .columns = {right.shape[-1]}, .depth = {left.shape[-1]},\n"
        f"    .left_row = {left.strides[-2]}, .left_column = {left.strides[-1]},\n"
        f"    .right_row = {right.strides[-2]}, .right_column = {right.strides[-1]},\n"
        f"    .batches = {product(batch)}, .rank = {len(batch)}, .extents = {int64s(batch)},\n"
        f"    .left_strides = {int64s(batch_strides(left, batch) or [])},\n"
        f"    .right_strides = {int64s(batch_strides(right, batch) or [])},\n"
        f"    .left = {floats.read(left.value)}, .right = {floats.read(right.value)},\n"
        f"    .epilogue = &epilogue, .out = {floats.result()}}});"
    )


def _one_matrix(operand: Operand) -> Operand:
    """A stack of matrices that lie one after the other, as one tall matrix."""
    depth = operand.shape[-1]
    return Operand(operand.value, (product(operand.shape[:-1]), depth), (depth, 1), operand.axes)


def _ending(floats: Floats, epilogue: Epilogue, out: Value, columns: Any) -> str:
    bias, residual = split_addends(epilogue, out)
    text = "NULL"
    if bias is not None and bias.is_constant and isinstance(columns, int):
        text = floats.m.constant(expanded(bias, columns), "bias")
    elif bias is not None:
        text = floats.read(bias)
    return epilogue_literal(epilogue, column_bias=text, residual=floats.read(residual) if residual else "NULL")


def _left(m: Match, floats: Floats, operand: Operand, isa: Isa) -> tuple[str, str]:
    """(statements that pack the left operand, the packed operand)"""
    rows, _ = operand.shape[-2:]
    if operand.value.is_constant:
        return "", m.constant(pack_rows(operand.array(), isa), "left")
    text = floats.read(operand.value)
    if isinstance(rows, int) and rows == 1 and operand.is_row_major:
        return "", text
    scratch = f"(float *){m.scratch(product(operand.shape) * 4)}"
    return f"csource_pack_rows(&(CsourcePack){{\n{_pack(operand, text, scratch)}}});\n", scratch


def _right(m: Match, floats: Floats, operand: Operand, isa: Isa) -> tuple[str, str]:
    """(statements that pack the right operand, the packed operand)"""
    depth, columns = operand.shape[-2:]
    if operand.value.is_constant:
        return "", m.constant(pack_columns(operand.array(), isa), "weights")
    panels = (columns + isa.columns - 1) // isa.columns
    scratch = f"(float *){m.scratch(product(operand.batch) * depth * panels * isa.columns * 4)}"
    text = floats.read(operand.value)
    return f"csource_pack_columns(&(CsourcePack){{\n{_pack(operand, text, scratch)}}});\n", scratch


def _pack(operand: Operand, text: str, packed: str) -> str:
    rows, columns = operand.shape[-2:]
    return (
        f"    .matrix = {text}, .rows = {rows}, .columns = {columns},\n"
        f"    .row_stride = {operand.strides[-2]}, .column_stride = {operand.strides[-1]},\n"
        f"    .batches = {product(operand.batch)}, .rank = {len(operand.batch)}, .extents = {int64s(operand.batch)},\n"
        f"    .strides = {int64s(operand.strides[:-2])}, .packed = {packed}"
    )


def _emit_direct(m: Match, out: Value, left: Operand, right: Operand, batch: tuple[Any, ...]) -> str:
    """Other element types: one loop nest, in the type of the result."""
    name = f"csource_matmul_{short(left.value.dtype)}_{short(out.dtype)}"
    m.helper(c_helper("matmul_direct_types"))
    m.helper(c_helper("matmul_direct", name=name, element=stored(left.value.dtype), sum=stored(out.dtype)))
    return (
        f"{name}(&(CsourceMatmul){{\n"
        f"    .rows = {left.shape[-2]}, .columns = {right.shape[-1]}, .depth = {left.shape[-1]},\n"
        f"    .left_row = {left.strides[-2]}, .left_column = {left.strides[-1]},\n"
        f"    .right_row = {right.strides[-2]}, .right_column = {right.strides[-1]},\n"
        f"    .batches = {product(batch)}, .rank = {len(batch)}, .extents = {int64s(batch)},\n"
        f"    .left_strides = {int64s(batch_strides(left, batch) or [])},\n"
        f"    .right_strides = {int64s(batch_strides(right, batch) or [])},\n"
        f"    .left = {left.value}, .right = {right.value}, .out = {out}}});"
    )


def _transposed(name: str) -> Any:
    return op("permute_dims")(name)


_ANCHOR = op("matmul")
KERNELS = (
    Kernel(
        fused(
            "matmul_transposed",
            _ANCHOR(_transposed("x"), _transposed("w"))
            | _ANCHOR(_transposed("x"), "w")
            | _ANCHOR("x", _transposed("w")),
        ),
        _check,
        _emit,
    ),
    Kernel(fused("matmul", _ANCHOR("x", "w")), _check, _emit),
)
