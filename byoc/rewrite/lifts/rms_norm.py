"""RMS norm (Zhang and Sennrich 2019) over the last axis, written out."""

from __future__ import annotations

from typing import Any

from tvm import relax

from byoc.patterns import op
from byoc.rewrite.lift import Found, Lift, weight_of
from byoc.rewrite.lifts.layer_norm import is_normalisation, normalised, normalised_axes, squared

_normal = normalised("x", op("mean")(squared("x")))


def _build(found: Found) -> Any:
    axes = normalised_axes(found)
    if axes is None or len(axes) != 1 or not is_normalisation(found):
        return None
    gamma = weight_of(found, "gamma", list(found["x"].shape or ())[-1:])
    return None if gamma is None else relax.op.nn.rms_norm(found.expr("x"), gamma, [-1], found.number("epsilon"))


LIFTS = (Lift("rms_norm", op("multiply")(_normal, "gamma"), _build),)
