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
    return [*_equal(held, wanted), binding]


def _equal(held: int | Dim, wanted: int | Dim) -> list[Any]:
    """Bindings that fail at run time unless both are equal.

    Their difference has to match 0: had a lone symbol to match what is held, TVM would write that for the symbol
    everywhere, without end where it holds the symbol itself. The difference is bound to a variable first, since
    TVM computes the expressions of a shape that is bound, not of one that `match_cast` reads; and to a plain one, since
    dead code elimination keeps what a dataflow block hands out.
    """
    surplus = relax.ShapeExpr([_expr(held) - _expr(wanted)])
    computed, none = relax.Var("surplus", relax.ShapeType(surplus.values)), relax.ShapeType([0])
    return [relax.VarBinding(computed, surplus), relax.MatchCast(relax.Var("no_surplus", none), computed, none)]


def _expr(extent: int | Dim) -> Any:
    return extent.expr if isinstance(extent, Dim) else extent
