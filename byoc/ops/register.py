"""Register a Relax op from Python: its arguments, its result's type, its legalisation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tvm
import tvm.ir._ffi_api
from tvm import relax
from tvm.ir import Op
from tvm.ir.op import register_op_attr

PREFIX = "byoc."
STATES = "byoc_states"  # attribute of a Relax function: names of the parameters that it updates in place
_ops: dict[str, RegisteredOp] = {}

Infer = Callable[[relax.Call], Any]
Legalise = Callable[[relax.BlockBuilder, relax.Call], Any]


@dataclass(frozen=True)
class RegisteredOp:
    """An op of the ``byoc.`` namespace.

    Attributes
    ----------
    name: with the prefix, such as ``"byoc.kv_attention"``.
    arguments: names of its arguments, in order.
    in_place: index of the argument that the op updates and returns, or -1.
    """

    name: str
    arguments: tuple[str, ...]
    in_place: int = -1


def byoc_op(
    name: str, arguments: Sequence[str], *, infer: Infer, in_place: int = -1
) -> Callable[[Legalise], RegisteredOp]:
    """Decorate the legalisation of a new op ``byoc.<name>``; the decorated name is then the :class:`RegisteredOp`.

    Parameters
    ----------
    infer: the Relax type of a call's result.
    in_place: index of the argument that the op updates where it lies and returns.  Nobody else may read that
        argument's old value: what builds such a call passes the result on.
    """

    def decorate(legalise: Legalise) -> RegisteredOp:
        full = PREFIX + name
        if full in _ops:
            raise ValueError(f"the op {full} is registered twice")
        tvm.ir._ffi_api.RegisterOp(full, (legalise.__doc__ or "").strip())
        op = Op.get(full)
        for argument in arguments:
            op.add_argument(argument, "Expr", "")
        register_op_attr(full, "FPurity", True)
        register_op_attr(full, "FInferType", lambda call, builder: infer(call))
        register_op_attr(full, "FLegalize", legalise)
        _ops[full] = RegisteredOp(full, tuple(arguments), in_place)
        return _ops[full]

    return decorate


def update_in_place(builder: relax.BlockBuilder, name: str, function: Any, arguments: Sequence[Any]) -> relax.Call:
    """The call of a TIR function that updates its first argument, for the legalisation of an `in_place` op."""
    opaque = 8  # TVM's number for functions that are fused with nothing
    variable = builder.add_func(function.with_attr("op_pattern", opaque), name)
    return relax.call_tir_inplace(variable, list(arguments), inplace_indices=[0], out_ty=[arguments[0].ty])


def find_op(name: str) -> RegisteredOp | None:
    """The op of that name, with or without the prefix ``byoc.``."""
    return _ops.get(name if name.startswith(PREFIX) else PREFIX + name)


def in_place_argument(name: str) -> int:
    """Index of the argument that op `name` updates and returns; -1 for an op that makes a new tensor."""
    found = _ops.get(name)
    return found.in_place if found else -1


def call(op: RegisteredOp, arguments: Sequence[Any], attrs: Mapping[str, Any] | None = None) -> relax.Call:
    """A call of the op; attributes are bools, ints, floats, strings and sequences of them."""
    node = tvm.ir.make_node("ir.DictAttrs", **dict(attrs or {}))
    return relax.Call(Op.get(op.name), list(arguments), attrs=node)
