"""Appending to a KV cache, and attention over it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from byoc_codegens.csource.c_text import c_helper, literal
from byoc_codegens.csource.family import Kernel
from byoc_codegens.csource.kv_text import layout_fields, layout_id

from byoc import CacheLayout, FixedScale, Match, cache_layout, op, reject

_SPLIT_TOKENS = 512  # fewer are not worth a task of their own
_LANES = 16
# What kernels work on lies on their stacks: channels of a head, numbers of a tile that waited, heads over one of keys.
_HEAD, _TILE, _SHARED = 1024, 2**18, 256
_MASKS = {2: "0x03030303", 4: "0x0f0f0f0f", 8: "-1"}


def _float_check(m: Match, *names: str) -> Any:
    for name in names:
        if m[name].dtype != "float32":
            return reject(f"{m.root.op} of {m[name].dtype} is not done", at=m[name])
    return None


def _append_check(m: Match) -> Any:
    layout, _ = cache_layout(m.root.attrs)
    if layout.waits and layout.tile[0] * layout.head_dim > _TILE:
        return reject(f"tiles of {layout.tile[0]} tokens of {layout.head_dim} channels are not done", at=m["new"])
    return _head_check(m, layout) or _float_check(m, "new")


def _head_check(m: Match, layout: CacheLayout) -> Any:
    if layout.head_dim > _HEAD:
        return reject(f"heads of {layout.head_dim} channels are not done, only up to {_HEAD}")
    return None


def _append_emit(m: Match) -> str:
    layout, fixed = cache_layout(m.root.attrs)
    fields = layout_fields(layout, fixed)
    if layout.form.is_float:
        fields |= {"bits": layout.form.bits}
    m.helper(c_helper("kv_append", **fields))
    batch, tokens, heads, _ = m["new"].shape or (0, 0, 0, 0)
    return (
        f"kv_append_{fields['id']}({m.out}, {m['new']}, {m['lengths']}, {m['counts']},\n"
        f"          {batch}, {tokens}, {heads});"
    )


def _attention_check(m: Match) -> Any:
    layout, _ = cache_layout(m.root.attrs, "k_")
    heads, kv_heads = (m["query"].shape or (0, 0, 0, 0))[2], (m["keys"].shape or (0, 0, 0))[1]
    if isinstance(heads, int) and isinstance(kv_heads, int) and heads > kv_heads * _SHARED:
        return reject(f"{heads} heads over {kv_heads} are not done, only up to {_SHARED} over each", at=m["query"])
    return _head_check(m, layout) or _float_check(m, "query")


def _attention_emit(m: Match) -> str:
    sides = [cache_layout(m.root.attrs, prefix) for prefix in ("k_", "v_")]
    for helper in ("math", "kv_vector", "kv_tile", "kv_merge"):
        m.helper(c_helper(helper))
    for layout, fixed in sides:
        m.helper(c_helper("kv_read", **layout_fields(layout, fixed)))
    (_, queries, _, _), (keys, _), (values, _) = m["query"].shape or (0, 0, 0, 0), *sides
    return _decode_text(m, sides) if queries == 1 and _counts(keys, values) else _attention_text(m, sides)


def _counts(keys: CacheLayout, values: CacheLayout) -> bool:
    """Whether ``kv_decode.c`` sums up these caches' integers."""
    for layout, together in ((keys, 4), (values, _LANES)):
        form = layout.form
        if form.is_float or layout.tile[0] != 1 or layout.row_bytes % 16:
            return False
        if layout.tile[1] % (together * 8 // form.bits) or layout.tile[1] > 256:
            return False
    return True


def _decode_text(m: Match, sides: Sequence[tuple[CacheLayout, FixedScale]]) -> str:
    (keys, _), (values, _) = sides
    k, v = (layout_id(*side) for side in sides)
    batch, _, heads, dim = m["query"].shape or (0, 0, 0, 0)
    kv_heads = (m["keys"].shape or (0, 0, 0))[1]
    m.helper(c_helper("linear_dot"))
    name = f"{k}_{v}_{heads // kv_heads}"
    fields = {
        "id": name, "k": k, "v": v, "dim": dim, "rows": heads // kv_heads, "key_bytes": keys.nbytes,
        "value_bytes": values.nbytes, "v_data_offset": values.offset("data"), "split_tokens": _SPLIT_TOKENS,
        "k_piece": math.gcd(keys.row_bytes, 64), "k_mask": _MASKS[keys.form.bits], "v_mask": _MASKS[values.form.bits],
    }  # fmt: skip
    m.helper(c_helper("kv_decode", **fields))
    splits = max(1, -(-keys.capacity // _SPLIT_TOKENS))
    partial = m.scratch(batch * heads * splits * (dim + 2) * 4)
    window, scale = int(m.root.attrs["window"]), literal(float(m.root.attrs["scale"]), "float32")
    return (
        f"kv_decode_{name}({m['query']}, {m['keys']}, {m['values']}, {m['lengths']}, {m['counts']},\n"
        f"          {m.out}, (float *){partial}, {batch}, {kv_heads}, {splits}, {window}, {scale});"
    )


def _attention_text(m: Match, sides: Sequence[tuple[CacheLayout, FixedScale]]) -> str:
    (keys, _), (values, _) = sides
    k, v = (layout_id(*side) for side in sides)
    name = f"{k}_{v}"
    m.helper(
        c_helper("kv_attention", id=name, k=k, v=v, dim=keys.head_dim, key_bytes=keys.nbytes, value_bytes=values.nbytes)
    )
    batch, queries, heads, dim = m["query"].shape or (0, 0, 0, 0)
    kv_heads = (m["keys"].shape or (0, 0, 0))[1]
    splits = max(1, keys.capacity // _SPLIT_TOKENS) if queries == 1 else 1
    partial = "NULL"
    if splits > 1:
        width = -(-dim // _LANES) * _LANES + 2
        partial = f"(float *){m.scratch(batch * queries * heads * splits * width * 4)}"
    window, scale = int(m.root.attrs["window"]), literal(float(m.root.attrs["scale"]), "float32")
    return (
        f"kv_attention_{name}({m['query']}, {m['keys']}, {m['values']}, {m['lengths']}, {m['counts']},\n"
        f"          {m.out}, {partial}, {batch}, {queries}, {heads}, {kv_heads}, {splits}, {window}, {scale});"
    )


KERNELS = (
    Kernel({"kv_append": op("byoc.kv_append")("cache", "new", "lengths", "counts")}, _append_check, _append_emit),
    Kernel(
        {"kv_attention": op("byoc.kv_attention")("query", "keys", "values", "lengths", "counts")},
        _attention_check,
        _attention_emit,
    ),
)
