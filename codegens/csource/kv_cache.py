"""Appending to a KV cache, and attention over it."""

from __future__ import annotations

from typing import Any

from byoc_codegens.csource.c_text import c_helper, literal
from byoc_codegens.csource.family import Kernel
from byoc_codegens.csource.kv_text import layout_fields, layout_id

from byoc import Match, cache_layout, op, reject

_SPLIT_TOKENS = 512  # fewer are not worth a task of their own


def _float_check(m: Match, *names: str) -> Any:
    for name in names:
        if m[name].dtype != "float32":
            return reject(f"{m.root.op} of {m[name].dtype} is not done", at=m[name])
    return None


def _append_check(m: Match) -> Any:
    return _float_check(m, "new")


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
    return _float_check(m, "query")


def _attention_emit(m: Match) -> str:
    sides = [cache_layout(m.root.attrs, prefix) for prefix in ("k_", "v_")]
    m.helper(c_helper("math"))
    m.helper(c_helper("kv_vector"))
    m.helper(c_helper("kv_tile"))
    for layout, fixed in sides:
        m.helper(c_helper("kv_read", **layout_fields(layout, fixed)))
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
        width = -(-dim // 16) * 16 + 2
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
