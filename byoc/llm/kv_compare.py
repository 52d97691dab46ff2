"""Hold a cache against another: as the numbers that its bytes stand for."""

from __future__ import annotations

from typing import Any

import numpy as np

from byoc.llm.kv_layout import CacheLayout
from byoc.llm.kv_reference import Region, read
from byoc.llm.kv_spec import FixedScale

Array = np.ndarray[Any, Any]


def numbers_in(layout: CacheLayout, cache: Array, totals: Array, fixed: FixedScale) -> Array:
    """What ``uint8[batch, kv_heads, nbytes]`` holds: ``float32[batch, kv_heads, capacity, head_dim]``.

    ``totals`` int64[batch] are the tokens of each sequence so far; empty slots are zero.  The mean of keys is added.
    """
    batch, heads, _ = cache.shape
    result = np.zeros((batch, heads, layout.capacity, layout.head_dim), np.float32)
    for b, h in np.ndindex(batch, heads):
        held = min(int(totals[b]), layout.capacity)
        result[b, h, :held] = read(layout, cache[b, h], held, fixed)
        if layout.mean:
            result[b, h, :held] += Region(layout, cache[b, h]).mean
    return result


def step_of(layout: CacheLayout, cache: Array, fixed: FixedScale) -> float:
    """How far a number may be off that was rounded to the neighbour of the nearest one.

    The largest scale of integers; of floats, the distance of two neighbours at the largest number.
    """
    regions = [Region(layout, cache[b, h]) for b, h in np.ndindex(*cache.shape[:2])]
    if layout.form.is_float:
        largest = max((float(np.abs(r.floats.astype(np.float64)).max(initial=0.0)) for r in regions), default=0.0)
        return largest * 2.0 ** (-10 if layout.form.bits == 16 else -22)
    if layout.form.granularity == "per-tensor":
        return fixed.scale
    return max((float(r.scale.max(initial=0)) for r in regions), default=0.0)
