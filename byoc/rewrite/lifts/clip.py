"""Limits written as minimum and maximum."""

from __future__ import annotations

from typing import Any

from tvm import relax

from byoc.patterns import const, op
from byoc.rewrite.lift import Found, Lift, same_shape

_FLOATS = ("float32", "float64")


def _clip(found: Found) -> Any:
    low, high = found.number("low"), found.number("high")
    if low is None or high is None or low > high or not _keeps_shape(found):
        return None
    return relax.op.clip(found.expr("x"), relax.prim_value(low), relax.prim_value(high))


def _relu(found: Found) -> Any:
    return relax.op.nn.relu(found.expr("x")) if found.is_number("zero", 0.0) and _keeps_shape(found) else None


def _keeps_shape(found: Found) -> bool:
    return same_shape(found["x"], found.out) and found["x"].dtype in _FLOATS


LIFTS = (
    Lift("clip", op("minimum")(op("maximum")("x", const("low")), const("high")), _clip),
    Lift("clip", op("maximum")(op("minimum")("x", const("high")), const("low")), _clip),
    Lift("relu", op("maximum")("x", const("zero")), _relu),
)
