"""TIR expressions that read numbers from the bytes of a cache."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from byoc.llm.kv_layout import CacheLayout
from byoc.llm.kv_spec import FixedScale


def half_at(cache: Any, b: Any, h: Any, offset: Any) -> Any:
    """The float16 at byte `offset` of region (b, h), as float32."""
    low, high = (tirx.Cast("uint16", cache[b, h, offset + k]) for k in (0, 1))
    return tirx.Cast("float32", tirx.reinterpret("float16", low | (high << tirx.IntImm("uint16", 8))))


def float_at(cache: Any, b: Any, h: Any, offset: Any) -> Any:
    """The float32 at byte `offset` of region (b, h)."""
    word: Any = tirx.Cast("uint32", cache[b, h, offset])
    for k in (1, 2, 3):
        word = word | (tirx.Cast("uint32", cache[b, h, offset + k]) << tirx.IntImm("uint32", 8 * k))
    return tirx.reinterpret("float32", word)


def byte_of_half(value: Any, k: Any) -> Any:
    """Byte k of `value` (float32) rounded to float16."""
    bits = tirx.reinterpret("uint16", tirx.Cast("float16", value))
    return tirx.Cast("uint8", bits >> tirx.Cast("uint16", k * 8))


def byte_of_float(value: Any, k: Any) -> Any:
    """Byte k of a float32."""
    return tirx.Cast("uint8", tirx.reinterpret("uint32", value) >> tirx.Cast("uint32", k * 8))


def number_at(layout: CacheLayout, cache: Any, b: Any, h: Any, slot: Any, d: Any, fixed: FixedScale) -> Any:
    """Number d of the token in `slot`, as float32, read from the data plane and its scales."""
    row = slot * layout.row_bytes + layout.offset("data")
    bits = layout.form.bits
    if bits == 32:
        return float_at(cache, b, h, row + d * 4)
    if bits == 16:
        return half_at(cache, b, h, row + d * 2)
    shift = tirx.Cast("uint8", d * bits % 8)
    byte = cache[b, h, row + d * bits // 8]
    quantum = tirx.Cast("float32", (byte >> shift) & tirx.IntImm("uint8", layout.levels))
    if layout.form.granularity == "per-tensor":
        low: Any = -fixed.scale * (layout.levels // 2 + 1) if layout.form.symmetric else fixed.minimum
        return quantum * tirx.FloatImm("float32", fixed.scale) + tirx.FloatImm("float32", low)
    tokens, channels = layout.tile
    place = 2 * (slot // tokens * (layout.head_dim // channels) + d // channels)
    s = half_at(cache, b, h, place + layout.offset("scale"))
    if layout.form.symmetric:
        return (quantum - tirx.FloatImm("float32", layout.levels // 2 + 1)) * s
    return quantum * s + half_at(cache, b, h, place + layout.offset("minimum"))
