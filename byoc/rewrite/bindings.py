"""Rewrite a module binding by binding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm
from tvm import relax

Rewrite = Callable[[Any], list[Any]]


def rewrite_bindings(module: tvm.IRModule, start: Callable[[Any], Rewrite]) -> tvm.IRModule:
    """The module with every binding replaced by those that a rewrite gives for it.

    `start` is called with each Relax function and returns the rewrite for its bindings, which are visited in program
    order; the branches of an `If` are visited before the binding of the `If` itself.
    """
    result = tvm.IRModule(dict(module.functions_items()), attrs=module.attrs, global_infos=module.global_infos)
    for variable, function in module.functions_items():
        if isinstance(function, relax.Function):
            body = _sequence(function.body, start(function))
            rebuilt = relax.Function(function.params, body, function.ret_ty, function.is_pure, function.attrs)
            result.update_func(variable, rebuilt)
    return relax.transform.Normalize()(result)


def _sequence(body: Any, rewrite: Rewrite) -> Any:
    blocks = []
    for block in body.blocks:
        bindings = [b for binding in block.bindings for b in _binding(binding, rewrite)]
        dataflow = isinstance(block, relax.DataflowBlock)
        blocks.append(relax.DataflowBlock(bindings) if dataflow else relax.BindingBlock(bindings))
    return relax.SeqExpr(blocks, body.body)


def _binding(binding: Any, rewrite: Rewrite) -> list[Any]:
    value = binding.value
    if isinstance(value, relax.If):
        true, false = _sequence(value.true_branch, rewrite), _sequence(value.false_branch, rewrite)
        binding = relax.VarBinding(binding.var, relax.If(value.cond, true, false, span=value.span))
    return rewrite(binding)


def replace_arguments(call: Any, replace: Callable[[Any], Any]) -> Any:
    """The call with every argument replaced; the call itself if none changes."""
    args = [replace(a) for a in call.args]
    if all(a is b for a, b in zip(args, call.args, strict=True)):
        return call
    return relax.Call(call.op, args, call.attrs, call.ty_args, span=call.span, ret_ty=call.ty)
