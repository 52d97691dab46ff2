"""The functions that compute symbolic shapes at run time: the same in every process, within what 64 bits hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm
from tvm import tirx

_PREFIX = "shape_func"
# What a product beyond it becomes: a petabyte, which no allocator has, so that the run ends with an error.  The runtime
# counts bits, so that 2**61 would wrap again.
MOST = 2**50


@tvm.transform.module_pass(opt_level=0, name="OrderShapeFunctions")
def order_shape_functions(module: tvm.IRModule, _: Any) -> tvm.IRModule:
    """The module as ``VMShapeLower`` leaves it, with the sizes of every shape function stored by rising slot.

    ``VMShapeLower`` takes the sizes that become known together from a map over addresses.  None of them reads another's
    slot, so that any order computes the same.
    """
    return _changed(module, _ordered)


@tvm.transform.module_pass(opt_level=0, name="BoundShapeFunctions")
def bound_shape_functions(module: tvm.IRModule, _: Any) -> tvm.IRModule:
    """The module with every product of sizes beyond `MOST` replaced by it.

    A product that wraps to something small would make the host allocate that, and write beyond it.
    """
    return _changed(module, _bounded)


def _changed(module: tvm.IRModule, change: Callable[[Any], Any]) -> tvm.IRModule:
    changed = {
        var: function.with_body(change(function.body))
        for var, function in module.functions_items()
        if var.name_hint.startswith(_PREFIX) and isinstance(function, tirx.PrimFunc)
    }
    return tvm.IRModule({**dict(module.functions_items()), **changed}, attrs=module.attrs)


def _ordered(body: Any) -> Any:
    if not isinstance(body, tirx.SeqStmt) or not all(isinstance(s, tirx.BufferStore) for s in body.seq):
        return body
    return tirx.SeqStmt(sorted(body.seq, key=lambda store: int(store.indices[0])))


def _bounded(body: Any) -> Any:
    if isinstance(body, tirx.SeqStmt):
        return tirx.SeqStmt([_bounded(statement) for statement in body.seq])
    if not isinstance(body, tirx.BufferStore) or not _multiplies(body.value):
        return body
    value = body.value
    fits = _in_floats(value) < tirx.const(float(MOST), "float64")
    return tirx.BufferStore(body.buffer, tirx.Select(fits, value, tirx.const(MOST, "int64")), body.indices)


def _multiplies(value: Any) -> bool:
    if isinstance(value, tirx.Mul):
        return True
    return any(_multiplies(part) for part in (getattr(value, "a", None), getattr(value, "b", None)) if part is not None)


_ON_FLOATS: dict[Any, Callable[[Any, Any], Any]] = {
    tirx.Mul: lambda a, b: a * b, tirx.Add: lambda a, b: a + b, tirx.Sub: lambda a, b: a - b,
    tirx.Max: tirx.Max, tirx.Min: tirx.Min, tirx.FloorDiv: lambda a, b: a / b,
}  # fmt: skip


def _in_floats(value: Any) -> Any:
    """The expression in float64, which holds a product of any sizes, if not to the last digit."""
    operation = _ON_FLOATS.get(type(value))
    if operation is None:
        return tirx.Cast("float64", value)
    return operation(_in_floats(value.a), _in_floats(value.b))
