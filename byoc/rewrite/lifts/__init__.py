"""Ops that exporters spell out, one file each."""

from __future__ import annotations

from byoc.rewrite.lift import Lift
from byoc.rewrite.lifts import clip, gelu, hard_swish, layer_norm, rms_norm, silu, softmax

# Numbers before what they are limits of: a HardSwish is found once its clip is one.
LIFTS: tuple[tuple[Lift, ...], ...] = (
    clip.LIFTS,
    (*layer_norm.LIFTS, *rms_norm.LIFTS, *gelu.LIFTS, *silu.LIFTS, *hard_swish.LIFTS, *softmax.LIFTS),
)
