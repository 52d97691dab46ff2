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
    order; the branches of an `If` are visited before the binding of the `If` itself.  A rewrite that leaves a binding
    alone returns that very object: a module of which nothing changes is returned itself.
    """
    changed = {}
    for variable, function in module.functions_items():
        if isinstance(function, relax.Function):
            before = function.body
            body = _sequence(before, start(function))
            if body is not before:
                changed[variable] = relax.Function(
                    function.params, body, function.ret_ty, function.is_pure, function.attrs
                )
    if not changed:
        return module
    functions = {**dict(module.functions_items()), **changed}
    result = tvm.IRModule(functions, attrs=module.attrs, global_infos=module.global_infos)
    return relax.transform.Normalize()(result)


def _sequence(body: Any, rewrite: Rewrite) -> Any:
    blocks, changed = [], False
    for block in body.blocks:
        bindings = []
        for binding in block.bindings:
            renewed = _binding(binding, rewrite)
            changed |= len(renewed) != 1 or renewed[0] is not binding
            bindings += renewed
        dataflow = isinstance(block, relax.DataflowBlock)
        blocks.append(relax.DataflowBlock(bindings) if dataflow else relax.BindingBlock(bindings))
    return relax.SeqExpr(blocks, body.body) if changed else body


def _binding(binding: Any, rewrite: Rewrite) -> list[Any]:
    value = binding.value
    if isinstance(value, relax.If):
        before = value.true_branch, value.false_branch
        true, false = (_sequence(branch, rewrite) for branch in before)
        if true is not before[0] or false is not before[1]:
            binding = relax.VarBinding(binding.var, relax.If(value.cond, true, false, span=value.span))
    return rewrite(binding)


def replace_arguments(call: Any, replace: Callable[[Any], Any]) -> Any:
    """The call with every argument replaced; the call itself if `replace` returns each argument itself."""
    before = list(call.args)  # each access to an attribute of a TVM object makes new Python objects
    args = [replace(a) for a in before]
    if all(a is b for a, b in zip(args, before, strict=True)):
        return call
    return relax.Call(call.op, args, call.attrs, call.ty_args, span=call.span, ret_ty=call.ty)


def replace_fields(fields: Any, replace: Callable[[Any], Any]) -> Any:
    """The tuple with every field replaced; the tuple itself if `replace` returns each field itself."""
    before = list(fields.fields)
    after = [replace(f) for f in before]
    return fields if all(a is b for a, b in zip(after, before, strict=True)) else relax.Tuple(after)
