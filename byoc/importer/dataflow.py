"""Dataflow blocks for the whole module, If branches included.

A cast that gives names to extents known only at run time stays between blocks: TVM fuses within a block, and would move
an op that needs such an extent (and no tensor that depends on it) before the cast.
"""

from __future__ import annotations

from collections.abc import Callable

import tvm
from tvm import relax, tirx

_BARRIER = relax.ExternFunc(
    "byoc.importer.barrier"
)  # stands for a cast while blocks are made; its calls count as impure


def to_dataflow(module: tvm.IRModule) -> tvm.IRModule:
    """Every call of the Relax functions in a dataflow block; casts that give names to extents stay outside."""
    hidden: dict[relax.Var, relax.MatchCast] = {}

    def hide(binding: relax.Binding) -> relax.Binding:
        if not isinstance(binding, relax.MatchCast) or not names_extents(binding):
            return binding
        hidden[binding.var] = binding
        return relax.VarBinding(binding.var, relax.Call(_BARRIER, [binding.value], ty_args=[binding.ty]))

    def reveal(binding: relax.Binding) -> relax.Binding:
        value = binding.value
        if isinstance(value, relax.Call) and value.op.same_as(_BARRIER):
            return relax.MatchCast(binding.var, value.args[0], hidden[binding.var].ty)
        return binding

    hiding = _each_function(module, hide)
    module = relax.transform.ConvertToDataflow(1)(hiding if hidden else module)
    if not hidden:
        return module
    return relax.transform.Normalize()(_each_function(module, reveal))  # fills in the types of what was rebuilt


def names_extents(cast: relax.MatchCast) -> bool:
    """Whether the cast gives a meaning to a symbolic extent that its operand's type does not hold."""
    return bool(_symbols(cast.ty) - _symbols(cast.value.ty))


def _symbols(kind: relax.Type) -> set[tirx.Var]:
    shape = kind.shape if isinstance(kind, relax.TensorType) else kind
    extents = (shape.values if isinstance(shape, relax.ShapeExpr | relax.ShapeType) else None) or ()
    return {symbol for extent in extents for symbol in tirx.analysis.undefined_vars(extent)}


def _each_function(module: tvm.IRModule, change: Callable[[relax.Binding], relax.Binding]) -> tvm.IRModule:
    functions = dict(module.functions_items())
    for name, function in functions.items():
        if isinstance(function, relax.Function):
            functions[name] = _with_body(function, _each_binding(function.body, change))
    return tvm.IRModule(functions, attrs=module.attrs, global_infos=module.global_infos)


def _with_body(function: relax.Function, body: relax.SeqExpr) -> relax.Function:
    return relax.Function(function.params, body, function.ret_ty, is_pure=function.is_pure, attrs=function.attrs)


def _each_binding(sequence: relax.SeqExpr, change: Callable[[relax.Binding], relax.Binding]) -> relax.SeqExpr:
    def visit(binding: relax.Binding) -> relax.Binding:
        if isinstance(binding, relax.VarBinding) and isinstance(binding.value, relax.If):
            branch = binding.value
            inner = [_each_binding(part, change) for part in (branch.true_branch, branch.false_branch)]
            return relax.VarBinding(binding.var, relax.If(branch.cond, inner[0], inner[1], branch.span))
        return change(binding)

    blocks = [
        block if isinstance(block, relax.DataflowBlock) else relax.BindingBlock([visit(b) for b in block.bindings])
        for block in sequence.blocks
    ]
    return relax.SeqExpr(blocks, sequence.body)
