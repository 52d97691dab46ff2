"""Reshapes of reshapes become one; those that change nothing none."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax
from tvm_ffi import structural_equal

from byoc.rewrite.bindings import rewrite_bindings

_RESHAPES = ("relax.reshape", "relax.expand_dims", "relax.squeeze", "relax.flatten", "relax.nn.batch_flatten")


def merge_reshapes(module: tvm.IRModule) -> tvm.IRModule:
    """Let every op that only gives elements another shape read the value before the first such op."""
    return rewrite_bindings(module, lambda _: _Merger().rewrite)


class _Merger:
    def __init__(self) -> None:
        self.source: dict[Any, Any] = {}

    def rewrite(self, binding: Any) -> list[Any]:
        value = binding.value
        if not isinstance(value, relax.Call) or not isinstance(value.op, tvm.ir.Op) or value.op.name not in _RESHAPES:
            return [binding]
        shape = value.ty.shape if isinstance(value.ty, relax.TensorType) else None
        if not isinstance(shape, relax.ShapeExpr) or not isinstance(value.args[0], relax.Var):
            return [binding]
        source = self.source.get(value.args[0], value.args[0])
        self.source[binding.var] = source
        if structural_equal(source.ty, binding.var.ty):
            return [relax.VarBinding(binding.var, source)]
        if value.args[0] not in self.source:
            return [binding]
        call = relax.op.reshape(source, shape)
        return [relax.VarBinding(binding.var, relax.Call(call.op, call.args, call.attrs, span=value.span))]
