"""HardSwish, which Relax has no op for, in one spelling: x * clip(x + 3, 0, 6) / 6."""

from __future__ import annotations

from typing import Any

from tvm import relax

from byoc.patterns import const, op
from byoc.rewrite.lift import ROUNDING, Found, Lift, same_shape

_gate = op("clip")(op("add")("x", const("three")))
_line = op("multiply")("x", const("slope")) | op("divide")("x", const("six"))
_sigmoid = op("clip")(op("add")(_line, const("half")))


def _of_gate(found: Found) -> Any:
    if not found.is_number("three", 3.0) or _limits(found) != (0.0, 6.0):
        return None
    sixth = found.is_number("six", 6.0) if "six" in found else found.is_number("sixth", 1 / 6, ROUNDING)
    return _built(found) if sixth else None


def _of_sigmoid(found: Found) -> Any:
    if not found.is_number("half", 0.5) or _limits(found) != (0.0, 1.0):
        return None
    sixth = found.is_number("six", 6.0) if "six" in found else found.is_number("slope", 1 / 6, ROUNDING)
    return _built(found) if sixth else None


def _limits(found: Found) -> tuple[Any, Any]:
    attrs = found.op("clip").attrs
    return attrs["min"], attrs["max"]


def _built(found: Found) -> Any:
    """One nested expression; normalising gives every part of it a binding of its own."""
    x, dtype = found.expr("x"), found.out.dtype
    if not same_shape(found["x"], found.out) or dtype not in ("float32", "float64"):
        return None
    gate = relax.op.clip(relax.op.add(x, relax.const(3.0, dtype)), relax.prim_value(0.0), relax.prim_value(6.0))
    return relax.op.divide(relax.op.multiply(x, gate), relax.const(6.0, dtype))


LIFTS = (
    Lift("hard_swish", op("multiply")("x", op("divide")(_gate, const("six"))), _of_gate),
    Lift("hard_swish", op("multiply")("x", op("multiply")(_gate, const("sixth"))), _of_gate),
    Lift("hard_swish", op("multiply")(op("multiply")("x", _gate), const("sixth")), _of_gate),
    Lift("hard_swish", op("multiply")("x", _sigmoid), _of_sigmoid),
)
