"""``byoc.kv_attention(query, keys, values, lengths, counts)``: causal attention over two caches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import relax, te, tirx

from byoc.llm.kv_bytes import half_at, number_at
from byoc.llm.kv_layout import CacheLayout
from byoc.llm.kv_spec import FixedScale
from byoc.ops.kv_attrs import append_attrs, cache_layout
from byoc.ops.register import byoc_op, call

_NEVER = -3.0e38


@byoc_op("kv_attention", ["query", "keys", "values", "lengths", "counts"], infer=lambda c: c.args[0].ty)
def kv_attention(builder: relax.BlockBuilder, c: relax.Call) -> Any:
    """Causal attention of queries over cached keys and values, their own included.

    ``query`` float32[batch, queries, heads, head_dim]; ``keys`` and ``values`` uint8[batch, kv_heads, nbytes], to
    which the queries' own tokens were appended; ``lengths`` int64[batch], tokens before those; ``counts`` int64[batch],
    how many were appended: queries beyond are padding, and their results mean nothing.  Query i of sequence b stands at
    position ``lengths[b] + i`` and sees those before it, at most `window` positions with its own (0: all).
    """
    query, keys, values, lengths, counts = c.args
    batch, queries, heads, dim = query.ty.shape.values
    kv_heads = int(keys.ty.shape.values[1])
    shared = int(heads) // kv_heads
    sides = [cache_layout(c.attrs, prefix) for prefix in ("k_", "v_")]
    k, v = (
        builder.emit_te(_reader(*side), cache, lengths, counts, primfunc_name_hint="kv_read")
        for cache, side in zip((keys, values), sides, strict=True)
    )
    capacity = sides[0][0].capacity
    # [batch, kv_heads, shared * queries, head_dim]: the heads that share a key are rows of one product
    rows = builder.emit(relax.op.permute_dims(query, [0, 2, 1, 3]))
    rows = builder.emit(relax.op.reshape(rows, relax.ShapeExpr([batch, kv_heads, shared * queries, dim])))
    scores = builder.emit(relax.op.matmul(rows, relax.op.permute_dims(k, [0, 1, 3, 2])))
    mask = _mask(capacity, float(c.attrs["scale"]), int(c.attrs["window"]))
    masked = builder.emit_te(mask, scores, lengths, counts, queries, primfunc_name_hint="kv_mask")
    weights = builder.emit(relax.op.nn.softmax(masked, axis=-1))
    mixed = builder.emit(relax.op.matmul(weights, v))
    mixed = builder.emit(relax.op.reshape(mixed, relax.ShapeExpr([batch, int(heads), queries, dim])))
    return relax.op.permute_dims(mixed, [0, 2, 1, 3])


def attend(
    query: Any, keys: Any, values: Any, lengths: Any, counts: Any, layouts: tuple[CacheLayout, CacheLayout],
    fixed: tuple[FixedScale, FixedScale], *, scale: float, window: int = 0,
) -> relax.Call:  # fmt: skip
    """The call that attends; `scale` multiplies the products of queries and keys."""
    attrs: dict[str, Any] = {"scale": float(scale), "window": int(window)}
    for prefix, layout, side in zip(("k_", "v_"), layouts, fixed, strict=True):
        attrs.update(append_attrs(layout, side, prefix))
    return call(kv_attention, [query, keys, values, lengths, counts], attrs)


def _reader(layout: CacheLayout, fixed: FixedScale) -> Callable[..., te.Tensor]:
    """Function of (cache, lengths, counts): float32[batch, kv_heads, capacity, head_dim], empty slots zero."""
    span = layout.tile[0] if layout.waits else 1
    residual = layout.offset("residual")

    def read(cache: te.Tensor, lengths: te.Tensor, counts: te.Tensor) -> te.Tensor:
        def number(b: Any, h: Any, slot: Any, d: Any) -> Any:
            total = lengths[b] + counts[b]
            value = number_at(layout, cache, b, h, slot, d, fixed)
            if layout.waits:
                place = residual + slot % span * (2 * layout.head_dim) + d * 2
                tile = (total - 1) // span * span % layout.capacity  # where the last tile begins
                waiting = tirx.all(total % span != 0, slot >= tile, slot < tile + span)
                value = tirx.Select(waiting, half_at(cache, b, h, place), value)
            return tirx.if_then_else(slot < total, value, tirx.FloatImm("float32", 0))

        shape = (cache.shape[0], cache.shape[1], layout.capacity, layout.head_dim)
        return te.compute(shape, number, name="kv_read")

    return read


def _mask(capacity: int, scale: float, window: int) -> Callable[..., te.Tensor]:
    """Function of (scores, lengths, counts, queries): scaled scores, very negative where a query does not see."""

    def mask(scores: te.Tensor, lengths: te.Tensor, counts: te.Tensor, queries: Any) -> te.Tensor:
        def score(b: Any, h: Any, row: Any, slot: Any) -> Any:
            here = lengths[b] + row % queries
            last = lengths[b] + counts[b] - 1
            position = last - (last - slot) % capacity  # of the newest token in this slot
            seen = tirx.all(position >= 0, position <= here)
            if window:
                seen = tirx.all(seen, position > here - window)
            scaled = scores[b, h, row, slot] * tirx.FloatImm("float32", scale)
            return tirx.if_then_else(seen, scaled, tirx.FloatImm("float32", _NEVER))

        return te.compute(scores.shape, score, name="kv_mask")

    return mask
