"""Gather with constant indices that follow each other, as the slice that it is."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax

from byoc.patterns import const, op
from byoc.rewrite.lift import Found, Lift


def _build(found: Found) -> Any:
    x, axis = found["x"], found.op("take").attrs["axis"]
    indices = found["indices"].constant
    if x.is_constant or x.shape is None or axis is None or indices is None or indices.ndim > 1 or not indices.size:
        return None
    axis = int(axis) % x.rank
    extent, flat = x.shape[axis], indices.reshape(-1)
    first, last = int(flat[0]), int(flat[-1])
    if not isinstance(extent, int) or first < 0 or last >= extent or (np.diff(flat) != 1).any():
        return None
    part = relax.op.strided_slice(found.expr("x"), [axis], [first], [last + 1])
    return part if indices.ndim else relax.op.squeeze(part, [axis])


LIFTS = (Lift("slice", op("take")("x", const("indices")), _build),)
