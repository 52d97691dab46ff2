"""SiLU: x * sigmoid(x)."""

from __future__ import annotations

from typing import Any

from tvm import relax

from byoc.patterns import op
from byoc.rewrite.lift import Found, Lift


def _build(found: Found) -> Any:
    return relax.op.nn.silu(found.expr("x"))


LIFTS = (Lift("silu", op("multiply")("x", op("sigmoid")("x")), _build),)
