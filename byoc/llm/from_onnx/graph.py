"""The bindings of an entry function, by variable, with what they need and who reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import tvm
from tvm import relax, tirx

from byoc.dim import dim_of
from byoc.importer.origin import origin_of


class Bindings:
    """What every variable of a function is computed from.

    Attributes
    ----------
    order: the bindings, in program order.
    values: what each variable is bound to; parameters are not among them.
    readers: variables whose values read a variable.
    """

    def __init__(self, function: relax.Function) -> None:
        self.params = {str(p.name): p for p in function.params}
        self.order = [binding for block in function.body.blocks for binding in block.bindings]
        self.values: dict[Any, Any] = {binding.var: binding.value for binding in self.order}
        self.places = {binding.var: i for i, binding in enumerate(self.order)}
        self.readers: dict[Any, list[Any]] = {}
        self.defined_by: dict[Any, Any] = {}  # a symbol, and the variable of the cast that defines it
        for binding in self.order:
            for read in variables(binding.value):
                self.readers.setdefault(read, []).append(binding.var)
            if isinstance(binding, relax.MatchCast):
                for symbol in symbols(binding.ty):
                    self.defined_by.setdefault(symbol, binding.var)

    def call(self, expr: Any) -> Any:
        """The call that computes `expr`, or None."""
        value = self.values.get(expr) if isinstance(expr, relax.Var) else None
        return value if isinstance(value, relax.Call) else None

    def needs(self, var: Any) -> list[Any]:
        """Variables that the value of `var` reads, those that define its symbols included."""
        value = self.values[var]
        binding = self.order[self.places[var]]
        used = [*symbols(value), *(symbols(binding.ty) if isinstance(binding, relax.MatchCast) else ())]
        defining = [self.defined_by[s] for s in used if s in self.defined_by and self.defined_by[s] is not var]
        return [*variables(value), *(d for d in defining if not d.same_as(var))]

    def node(self, var: Any) -> str:
        """The ONNX node that computes `var`, for a message."""
        origin = origin_of(self.values[var]) if var in self.values else None
        return f'node "{origin.node}" ({origin.op_type})' if origin else f'"{var.name}"'


def op_name(call: Any) -> str:
    """``"matmul"``, ``"byoc.kv_join"``; empty for what is no call of an operator."""
    operator = getattr(call, "op", None)
    return str(operator.name).removeprefix("relax.") if isinstance(operator, tvm.ir.Op) else ""


def variables(expr: Any) -> Iterator[Any]:
    """The variables in an argument or in a call."""
    if isinstance(expr, relax.Var) and not isinstance(expr.ty, tvm.ir.PrimType):  # symbols are variables too
        yield expr
    elif isinstance(expr, relax.Call):
        yield from _each(expr.args)
    elif isinstance(expr, relax.Tuple):
        yield from _each(expr.fields)
    elif isinstance(expr, relax.TupleGetItem):
        yield from variables(expr.tuple_value)


def _each(exprs: Iterable[Any]) -> Iterator[Any]:
    for expr in exprs:
        yield from variables(expr)


def symbols(expr: Any) -> list[Any]:
    """The symbols in the extents that a call names, or in a type."""
    found: list[Any] = []
    if isinstance(expr, relax.Call):
        for arg in expr.args:
            found += symbols(arg)
    elif isinstance(expr, relax.Tuple):
        for field in expr.fields:
            found += symbols(field)
    elif isinstance(expr, (relax.ShapeExpr, relax.ShapeType)):
        for extent in expr.values or ():
            found += _of_extent(extent)
    elif isinstance(expr, relax.TensorType):
        found += symbols(expr.shape) if isinstance(expr.shape, relax.ShapeExpr) else []
    elif isinstance(getattr(expr, "ty", None), tvm.ir.PrimType):
        found += _of_extent(expr)
    return found


def _of_extent(extent: Any) -> list[Any]:
    if isinstance(extent, (int, tirx.IntImm)):
        return []
    return list(tirx.analysis.undefined_vars(extent))


def shape_of(expr: Any) -> list[Any] | None:
    """The extents of a tensor: ints and symbols; None where they are not known."""
    ty = expr.ty
    if not isinstance(ty, relax.TensorType) or not isinstance(ty.shape, relax.ShapeExpr):
        return None
    return [int(d) if isinstance(d, (int, tirx.IntImm)) else d for d in ty.shape.values]


def same_extent(a: Any, b: Any) -> bool:
    """Whether two extents are the same number or can be shown to be."""
    return bool(dim_of(a) == dim_of(b))
