"""Softmax and its logarithm over one axis, written with exponentials of differences from the maximum."""

from __future__ import annotations

from typing import Any

from tvm import relax

from byoc.patterns import op
from byoc.rewrite.lift import Found, Lift

_shifted = op("subtract")("x", op("max")("x"))
_exponentials = op("exp")(_shifted)


def _axis(found: Found) -> int | None:
    """The one axis of both reductions, which keep it."""
    attrs = [found.op(name).attrs for name in ("max", "sum")]
    rank = found["x"].rank
    axes = {tuple(int(a) % rank for a in (one["axis"] or ())) for one in attrs} if rank > 0 else set()
    if len(axes) != 1 or not all(one["keepdims"] for one in attrs):
        return None
    (both,) = axes
    return both[0] if len(both) == 1 else None


def _softmax(found: Found) -> Any:
    axis = _axis(found)
    return None if axis is None else relax.op.nn.softmax(found.expr("x"), axis)


def _log_softmax(found: Found) -> Any:
    axis = _axis(found)
    return None if axis is None else relax.op.nn.log_softmax(found.expr("x"), axis)


LIFTS = (
    Lift("softmax", op("divide")(_exponentials, op("sum")(_exponentials)), _softmax),
    Lift("log_softmax", op("subtract")(_shifted, op("log")(op("sum")(_exponentials))), _log_softmax),
)
