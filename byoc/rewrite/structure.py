"""Put tuples, shapes and aliases that are bound to variables back in the place where they are used."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax

_STRUCTURE = (relax.Tuple, relax.ShapeExpr, relax.Var, tvm.ir.GenericConst)


def inline_structure(module: tvm.IRModule) -> tvm.IRModule:
    """Replace variables bound to a tuple, shape, constant or other variable by what they stand for.

    Afterwards a call reads only results of calls, parameters and constants, so that no partition depends on the
    place of a binding that computes nothing.  The bindings themselves are left to dead code elimination.
    """
    result = tvm.IRModule(dict(module.functions_items()), attrs=module.attrs, global_infos=module.global_infos)
    for variable, function in module.functions_items():
        if isinstance(function, relax.Function):
            body = _Inliner().sequence(function.body)
            rebuilt = relax.Function(function.params, body, function.ret_ty, function.is_pure, function.attrs)
            result.update_func(variable, rebuilt)
    return relax.transform.Normalize()(result)


class _Inliner:
    def __init__(self) -> None:
        self.stands_for: dict[Any, Any] = {}

    def sequence(self, body: Any) -> Any:
        blocks = []
        for block in body.blocks:
            bindings = [self._binding(b) for b in block.bindings]
            dataflow = isinstance(block, relax.DataflowBlock)
            blocks.append(relax.DataflowBlock(bindings) if dataflow else relax.BindingBlock(bindings))
        return relax.SeqExpr(blocks, body.body)

    def _binding(self, binding: Any) -> Any:
        value = binding.value
        if isinstance(binding, relax.MatchCast):
            return binding
        if isinstance(value, relax.Call):
            args = [self._resolve(a) for a in value.args]
            if any(a is not b for a, b in zip(args, value.args, strict=True)):
                call = relax.Call(value.op, args, value.attrs, value.ty_args, span=value.span, ret_ty=value.ty)
                return relax.VarBinding(binding.var, call)
        elif isinstance(value, relax.If):
            true, false = self.sequence(value.true_branch), self.sequence(value.false_branch)
            return relax.VarBinding(binding.var, relax.If(value.cond, true, false, span=value.span))
        elif isinstance(value, _STRUCTURE) and isinstance(binding.var, relax.DataflowVar):
            self.stands_for[binding.var] = self._resolve(value)
        return binding

    def _resolve(self, expr: Any) -> Any:
        if isinstance(expr, relax.Var) and not isinstance(expr, relax.GlobalVar):
            return self.stands_for.get(expr, expr)
        if isinstance(expr, relax.Tuple):
            fields = [self._resolve(f) for f in expr.fields]
            if any(a is not b for a, b in zip(fields, expr.fields, strict=True)):
                return relax.Tuple(fields)
        return expr
