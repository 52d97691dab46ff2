"""``byoc.kv_append(cache, new, lengths, counts)``: quantise tokens and put them behind those that the cache holds."""

from __future__ import annotations

from typing import Any

from tvm import relax
from tvm.script import tirx as T  # noqa: N812 - TVMScript knows it by this name

from byoc.llm.kv_bytes import byte_of_float, byte_of_half, float_at, half_at
from byoc.llm.kv_layout import CacheLayout
from byoc.llm.kv_spec import FixedScale
from byoc.ops.kv_attrs import append_attrs, cache_layout
from byoc.ops.register import byoc_op, call, update_in_place

_BIG = 3.0e38


@byoc_op("kv_append", ["cache", "new", "lengths", "counts"], infer=lambda c: c.args[0].ty, in_place=0)
def kv_append(builder: relax.BlockBuilder, c: relax.Call) -> Any:
    """Quantise tokens and put them behind those that the cache holds, in place.

    ``cache`` uint8[batch, kv_heads, nbytes], ``new`` float32[batch, tokens, kv_heads, head_dim], ``lengths``
    and ``counts`` int64[batch].  Token i < ``counts[b]`` of sequence b goes to slot ``(lengths[b] + i) % capacity``.
    """
    cache = c.args[0]
    batch, heads, _ = (int(d) for d in cache.ty.shape.values)
    layout, fixed = cache_layout(c.attrs)
    function = append_function(layout, batch, heads, fixed)
    return update_in_place(builder, "kv_append", function, c.args)


def append_tokens(
    cache: Any, new: Any, lengths: Any, counts: Any, layout: CacheLayout, fixed: FixedScale
) -> relax.Call:
    """The call that appends ``new`` to ``cache``; `fixed` is the scale of a per-tensor format."""
    return call(kv_append, [cache, new, lengths, counts], append_attrs(layout, fixed))


def append_function(layout: CacheLayout, batch: int, heads: int, fixed: FixedScale) -> Any:
    """The TIR function behind the op; its branches on Python values are decided while it is built."""
    dim, capacity, levels, bits, row = (
        layout.head_dim,
        layout.capacity,
        layout.levels,
        layout.form.bits,
        layout.row_bytes,
    )
    is_float, symmetric, waits, centred = layout.form.is_float, layout.form.symmetric, layout.waits, layout.mean
    is_fixed, scale = layout.form.granularity == "per-tensor", fixed.scale
    span, channels = (1, dim) if is_float else layout.tile
    groups, per_byte = dim // channels, max(1, 8 // bits)
    zero, lowest = (levels // 2 + 1 if symmetric else 0), int(symmetric)
    fixed_low = -scale * zero if symmetric else fixed.minimum
    data, mean, residual = (layout.offset(p) for p in ("data", "mean", "residual"))
    scales, minima = layout.offset("scale"), layout.offset("minimum")
    number_bytes, byte_of_number = bits // 8, byte_of_float if bits == 32 else byte_of_half

    def quantum(number: Any, most: Any) -> Any:
        steps = T.nearbyint((number - most[1]) * most[2])
        inside = T.max(T.min(steps, T.float32(levels)), T.float32(lowest))
        return T.Select(most[0] > T.float32(0), inside, T.float32(zero))

    @T.prim_func(private=True, s_tir=True)
    def append(cache_h: T.handle, new_h: T.handle, lengths_h: T.handle, counts_h: T.handle):  # type: ignore[no-untyped-def]
        n = T.int64()
        cache = T.match_buffer(cache_h, (T.int64(batch), T.int64(heads), T.int64(layout.nbytes)), "uint8")
        new = T.match_buffer(new_h, (T.int64(batch), n, T.int64(heads), T.int64(dim)), "float32")
        lengths = T.match_buffer(lengths_h, (T.int64(batch),), "int64")
        counts = T.match_buffer(counts_h, (T.int64(batch),), "int64")
        x = T.alloc_buffer((T.int64(span), T.int64(dim)), "float32")
        most = T.alloc_buffer((T.int64(3),), "float32")  # largest or scale, least or minimum, inverse of the scale
        slot = T.alloc_buffer((T.int64(1),), "int64")
        byte = T.alloc_buffer((T.int64(1),), "uint8")
        for b, h in T.grid(T.int64(batch), T.int64(heads)):
            if centred:  # noqa: SIM102 - decided while the function is built
                if lengths[b] == T.int64(0):
                    for d in range(T.int64(dim)):
                        most[0] = T.float32(0)
                        for i in range(counts[b]):
                            most[0] = most[0] + new[b, i, h, d]
                        most[1] = most[0] / T.Cast("float32", T.max(counts[b], T.int64(1)))
                        for k in T.unroll(T.int64(4)):
                            cache[b, h, mean + d * 4 + k] = byte_of_float(most[1], k)
            for i in range(counts[b]):
                slot[0] = (lengths[b] + i) % capacity
                for d in range(T.int64(dim)):
                    if centred:
                        x[0, d] = new[b, i, h, d] - float_at(cache, b, h, mean + d * 4)
                    else:
                        x[0, d] = new[b, i, h, d]
                if is_float:
                    for d, k in T.grid(T.int64(dim), T.int64(number_bytes)):
                        cache[b, h, data + slot[0] * row + d * number_bytes + k] = byte_of_number(x[0, d], k)
                else:
                    if waits:
                        for d, k in T.grid(T.int64(dim), T.int64(2)):
                            cache[b, h, residual + (slot[0] % span * dim + d) * 2 + k] = byte_of_half(x[0, d], k)
                    if slot[0] % span == T.int64(span - 1):
                        if waits:
                            for t, d in T.grid(T.int64(span), T.int64(dim)):
                                x[t, d] = half_at(cache, b, h, residual + (t * dim + d) * 2)
                        for g in range(T.int64(groups)):
                            if is_fixed:
                                most[0] = T.float32(scale)
                                most[1] = T.float32(fixed_low)
                            else:
                                most[0] = T.float32(-_BIG)
                                most[1] = T.float32(_BIG)
                                for t, d in T.grid(T.int64(span), T.int64(channels)):
                                    most[0] = T.max(most[0], x[t, g * channels + d])
                                    most[1] = T.min(most[1], x[t, g * channels + d])
                                if symmetric:
                                    most[0] = T.max(most[0], -most[1]) / T.float32(levels // 2)
                                else:
                                    most[0] = (most[0] - most[1]) / T.float32(levels)
                                most[0] = T.Cast("float32", T.Cast("float16", most[0]))
                                for k in T.unroll(T.int64(2)):
                                    cache[b, h, scales + (slot[0] // span * groups + g) * 2 + k] = byte_of_half(
                                        most[0], k
                                    )
                                if symmetric:
                                    most[1] = most[0] * T.float32(-zero)
                                else:
                                    most[1] = T.Cast("float32", T.Cast("float16", most[1]))
                                    for k in T.unroll(T.int64(2)):
                                        cache[b, h, minima + (slot[0] // span * groups + g) * 2 + k] = byte_of_half(
                                            most[1], k
                                        )
                            most[2] = T.Select(most[0] > T.float32(0), T.float32(1) / most[0], T.float32(0))
                            for t, d in T.grid(T.int64(span), T.int64(channels)):
                                x[t, g * channels + d] = quantum(x[t, g * channels + d], most)
                        for t, e in T.grid(T.int64(span), T.int64(row)):
                            byte[0] = T.uint8(0)
                            for k in T.unroll(T.int64(per_byte)):
                                byte[0] = byte[0] | T.shift_left(
                                    T.Cast("uint8", x[t, e * per_byte + k]), T.Cast("uint8", k * bits)
                                )
                            cache[b, h, data + (slot[0] - (span - 1) + t) * row + e] = byte[0]

    return append
