"""Dataflow blocks for the whole module, If branches included.

A cast that gives names to extents known only at run time stays between blocks: TVM fuses within a block, and would move
an op that needs such an extent (and no tensor that depends on it) before the cast.
"""

from __future__ import annotations

from collections.abc import Callable, Set

import tvm
from tvm import relax

_BARRIER = relax.ExternFunc(
    "byoc.importer.barrier"
)  # stands for a cast while blocks are made; its calls count as impure


def to_dataflow(module: tvm.IRModule, casts: Set[relax.Var]) -> tvm.IRModule:
    """Every call of ``main`` in a dataflow block; the bindings of ``casts`` outside."""
    if not casts:
        return relax.transform.ConvertToDataflow(1)(module)
    hidden: dict[relax.Var, relax.MatchCast] = {}

    def hide(binding: relax.Binding) -> relax.Binding:
        if not isinstance(binding, relax.MatchCast) or binding.var not in casts:
            return binding
        hidden[binding.var] = binding
        return relax.VarBinding(binding.var, relax.Call(_BARRIER, [binding.value], ty_args=[binding.ty]))

    def reveal(binding: relax.Binding) -> relax.Binding:
        if (
            isinstance(binding, relax.VarBinding)
            and isinstance(binding.value, relax.Call)
            and binding.value.op.same_as(_BARRIER)
        ):
            return relax.MatchCast(binding.var, binding.value.args[0], hidden[binding.var].ty)
        return binding

    module["main"] = _with_body(module["main"], _each_binding(module["main"].body, hide))
    module = relax.transform.ConvertToDataflow(1)(module)
    module["main"] = _with_body(module["main"], _each_binding(module["main"].body, reveal))
    return relax.transform.Normalize()(module)  # fills in the types of what was rebuilt


def _with_body(function: relax.Function, body: relax.SeqExpr) -> relax.Function:
    return relax.Function(function.params, body, function.ret_ty, is_pure=function.is_pure, attrs=function.attrs)


def _each_binding(sequence: relax.SeqExpr, change: Callable[[relax.Binding], relax.Binding]) -> relax.SeqExpr:
    def visit(binding: relax.Binding) -> relax.Binding:
        if isinstance(binding, relax.VarBinding) and isinstance(binding.value, relax.If):
            branch = binding.value
            inner = [_each_binding(part, change) for part in (branch.true_branch, branch.false_branch)]
            return relax.VarBinding(binding.var, relax.If(branch.cond, inner[0], inner[1], branch.span))
        return change(binding)

    return relax.SeqExpr([type(block)([visit(b) for b in block.bindings]) for block in sequence.blocks], sequence.body)
