"""Matrix products: batched, broadcast, with constant weights packed, and with symbolic sizes."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax

from byoc.host.code import Code, divide, int64
from byoc.host.contraction import Contraction, pack_columns, write_contraction
from byoc.host.epilogue import Epilogue
from byoc.host.kernel import Dims, Tiled, buffer, dtype_of, product, static, type_text
from byoc.host.machine import Machine
from byoc.host.tiling import Blocking, Extents

_DTYPES = ("float32", "float64", "int32")


def takes_matmul(call: Any) -> bool:
    """Whether :func:`matmul_kernel` computes this call of `matmul`."""
    left, right = call.args[0].ty, call.args[1].ty
    if not (static(left) and static(right) and static(call.ty)):
        return False
    kinds = {dtype_of(left), dtype_of(right), dtype_of(call.ty)}
    return len(kinds) == 1 and kinds <= set(_DTYPES) and min(len(left.shape.values), len(right.shape.values)) >= 2


def matmul_kernel(call: Any, epilogue: Epilogue, machine: Machine, name: str) -> Tiled:
    """The kernel of a matrix product."""
    dims, dtype = Dims(), dtype_of(call.ty)
    left, right, result = dims.of(call.args[0].ty), dims.of(call.args[1].ty), dims.of(call.ty)
    *left_batch, rows, depth = left
    *right_batch, _, columns = right
    batch = result[:-2]
    plain = all(isinstance(d, int) and d == 1 for d in right_batch)
    if plain:
        rows, batch, left_batch, right_batch = product(left[:-1]), [], [], []
    constant = isinstance(call.args[1], tvm.ir.GenericConst) and plain

    def write(blocking: Blocking | None) -> Any:
        problem = Contraction(
            units=product(batch),
            rows=rows,
            columns=columns,
            reduction=[(depth, 1)],
            data_base=lambda unit: _offset(unit, batch, left_batch) * int64(rows) * int64(depth),
            weight_base=lambda unit: _offset(unit, batch, right_batch) * int64(depth) * int64(columns),
            result_base=lambda unit: unit * int64(rows) * int64(columns),
            data_step=depth,
            result_step=columns,
            packed=constant,
            blocking=blocking,
        )
        weight = [depth * columns] if constant else right
        shapes = [left, weight, *(dims.of(e.ty) for e in epilogue.extras), result]
        return kernel_of(problem, epilogue, shapes, machine, dtype, name)

    def arguments(blocking: Blocking | None) -> list[Any]:
        weight = call.args[1]
        if constant and blocking is not None:
            weight = relax.const(pack_columns(weight.value.numpy().reshape(1, depth, columns), blocking))
        return [call.args[0], weight, *epilogue.extras]

    extents = Extents(rows, columns, depth, dtype) if isinstance(columns, int) else None
    return Tiled(_describe(call, constant, epilogue), call.ty, extents, write, arguments)


def _describe(call: Any, constant: bool, epilogue: Epilogue) -> str:
    left, right = (type_text(a.ty) for a in call.args[:2])
    return f"matmul {left} {'constant ' if constant else ''}{right}{epilogue.describe()}"


def kernel_of(
    problem: Contraction, epilogue: Epilogue, shapes: list[list[Any]], machine: Machine, dtype: str, name: str
) -> Any:
    """The kernel of a contraction: parameters are data, weights, what the epilogue reads, and the result."""
    buffers = [buffer(shape, dtype, f"t{i}") for i, shape in enumerate(shapes)]
    code = Code()
    data, weight, *extras, result = [code.flat(b) for b in buffers]

    def finish(sums: Any, position: Any, column: Any, lanes: int) -> Any:
        return epilogue.apply(sums, extras, position, column, lanes)

    write_contraction(code, problem, (data, weight, result), finish, machine, dtype)
    return code.function(buffers, name)


def _offset(unit: Any, batch: list[Any], own: list[Any]) -> Any:
    """Which matrix of an operand belongs to a matrix of the result, where the operand may be broadcast."""
    total: Any = int64(0)
    own = [1] * (len(batch) - len(own)) + own
    stride: Any = int64(1)
    rest = unit
    for extent, dim in zip(reversed(batch), reversed(own), strict=True):
        rest, here = divide(rest, extent)
        if not (isinstance(dim, int) and dim == 1):
            total = total + here * stride
            stride = stride * int64(dim)
    return total
