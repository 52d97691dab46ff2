"""Put tuples, shapes, constants and aliases that are bound to variables back in the place where they are used."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax

from byoc.rewrite.bindings import replace_arguments, replace_fields, rewrite_bindings

_STRUCTURE = (relax.Tuple, relax.ShapeExpr, relax.Var, tvm.ir.GenericConst)


def inline_structure(module: tvm.IRModule) -> tvm.IRModule:
    """Replace variables bound to a tuple, shape, constant or other variable by what they stand for.

    Afterwards a call reads only results of calls, parameters and constants, so that no partition depends on the
    place of a binding that computes nothing.  The bindings themselves are left to dead code elimination.
    """
    return rewrite_bindings(module, lambda _: _Inliner().rewrite)


class _Inliner:
    def __init__(self) -> None:
        self.stands_for: dict[Any, Any] = {}

    def rewrite(self, binding: Any) -> list[Any]:
        value = binding.value
        if isinstance(binding, relax.MatchCast):
            return [binding]
        if isinstance(value, relax.Call):
            call = replace_arguments(value, self._resolve)
            return [binding if call is value else relax.VarBinding(binding.var, call)]
        if isinstance(value, _STRUCTURE) and isinstance(binding.var, relax.DataflowVar):
            self.stands_for[binding.var] = self._resolve(value)
        return [binding]

    def _resolve(self, expr: Any) -> Any:
        if isinstance(expr, relax.Var) and not isinstance(expr, relax.GlobalVar):
            return self.stands_for.get(expr, expr)
        if isinstance(expr, relax.Tuple):
            return replace_fields(expr, self._resolve)
        return expr
