"""Checks that TVM's host code leaves out, made part of the module."""

from __future__ import annotations

import math
from typing import Any

import tvm
from tvm import relax

from byoc.dim import Dim, dim_of
from byoc.rewrite.bindings import rewrite_bindings

_RESHAPE = tvm.ir.Op.get("relax.reshape")


def check_reshapes(module: tvm.IRModule) -> tvm.IRModule:
    """Check at run time that each reshape keeps the number of elements, where symbolic shapes leave that open.

    TVM's kernel takes the result's shape as given: it would leave elements out, or read beyond the operand.
    """
    return rewrite_bindings(module, lambda _: _checked)


def _checked(binding: Any) -> list[Any]:
    value = binding.value
    if not isinstance(value, relax.Call) or value.op != _RESHAPE:
        return [binding]
    operand, shape = value.args[0].ty.shape, value.args[1]
    if not (isinstance(operand, relax.ShapeExpr) and isinstance(shape, relax.ShapeExpr)):
        return [binding]
    held, wanted = (math.prod(dim_of(extent) for extent in known.values) for known in (operand, shape))
    if held == wanted:
        return [binding]
    # A plain variable: dead code elimination keeps what a dataflow block hands out.
    kind = relax.ShapeType([_expr(wanted)])
    return [relax.MatchCast(relax.Var("elements", kind), relax.ShapeExpr([_expr(held)]), kind), binding]


def _expr(extent: int | Dim) -> Any:
    return extent.expr if isinstance(extent, Dim) else extent
