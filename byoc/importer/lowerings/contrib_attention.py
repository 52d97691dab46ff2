"""The attention operators of ONNX Runtime, as its CPU provider computes them."""

from __future__ import annotations

import itertools

import numpy as np
from tvm import relax, tirx

from byoc.importer.lowerings import attention_core as core
from byoc.importer.lowerings.reshape import as_expr, runtime_shape, shape_expr
from byoc.importer.lowerings.rotary import rotate, rows_of
from byoc.importer.node_view import NodeView
from byoc.importer.table import Results, lowers
from byoc.importer.values import Dim, constant
from byoc.ops.kv_join import joined

op = relax.op
_MICROSOFT = "com.microsoft"


def _require_absent(view: NodeView, **inputs: int) -> None:
    for name, index in inputs.items():
        if view.has(index):
            view.refuse(f'its input "{name}" is not supported')


def _require(view: NodeView, **attributes: object) -> None:
    """Attributes that must have this value, which is their default."""
    for name, default in attributes.items():
        value = view.attribute(name, default)
        if value != default:
            view.refuse(f'its attribute "{name}" = {value} is not supported')


# GroupQueryAttention


@lowers("GroupQueryAttention", domain=_MICROSOFT)
def _group_query_attention(view: NodeView) -> Results:
    """query, key, value, past_key, past_value, seqlens_k, total_sequence_length, cos_cache, sin_cache, position_ids,
    attention_bias, head_sink."""
    _require(
        view, kv_cache_bit_width=0, sliding_window_cache=0, causal=1, qk_output=0, k_quant_type="NONE",
        v_quant_type="NONE",
    )  # fmt: skip
    _require_absent(view, k_scale=12, v_scale=13, q_norm_weight=14, k_norm_weight=15, query_seqlens=16)
    view.mark_read("qk_norm_epsilon", "q_norm_epsilon", "k_norm_epsilon")  # of weights that are absent
    heads, kv_heads = view.attribute("num_heads"), view.attribute("kv_num_heads")
    window, smooth = view.attribute("local_window_size", -1), view.attribute("smooth_softmax", -1) == 1
    q, k, v = _group_heads(view, heads, kv_heads)
    tokens = view.shape_of(q)[2]
    ends = _ends(view)
    starts, length = _group_starts(view, ends, tokens)
    if view.attribute("do_rotary", 0):
        positions = _group_positions(view, starts, tokens)
        cosines, sines = (rows_of(view, view.tensor(index), positions) for index in (7, 8))
        interleaved = bool(view.attribute("rotary_interleaved", 0))
        q, k = (rotate(view, x, cosines, sines, interleaved) for x in (q, k))
    view.mark_read("rotary_interleaved")
    if view.has(3) and view.has(4):
        k, v = (
            view.emit(joined(past, new, starts, shape_expr([length])))
            for past, new in ((view.tensor(3), k), (view.tensor(4), v))
        )
    scores = core.capped(view, core.scores_of(view, q, k, view.attribute("scale", 0.0)), view.attribute("softcap", 0.0))
    scores = core.biased(view, scores, view.tensor(10) if view.has(10) else None)
    here = core.query_places(view, tokens, starts)
    there = core.places(view, view.shape_of(k)[2])
    last = view.emit(op.reshape(ends, shape_expr([view.shape_of(ends)[0], 1, 1, 1])))
    seen = view.emit(op.less_equal(there, view.emit(op.minimum(here, last))))  # queries behind the end are padding
    if window > 0:
        near = op.less(view.emit(op.subtract(here, there)), relax.const(window, "int64"))
        seen = view.emit(op.logical_and(seen, view.emit(near)))
    sink = view.tensor(11) if view.has(11) else constant(np.zeros(1, "float32")) if smooth else None
    weights = core.softmax(view, core.hide(view, scores, seen), sink)
    return [core.merge_heads(view, core.mix(view, weights, v)), k, v]


def _group_heads(view: NodeView, heads: int, kv_heads: int) -> list[relax.Expr]:
    if view.has(1) != view.has(2):
        view.refuse("it has keys without values, or values without keys")
    if view.has(1):
        if view.rank(1) != 3:
            view.refuse("its keys do not have three dimensions")
        return [core.split_heads(view, view.tensor(i), n) for i, n in enumerate((heads, kv_heads, kv_heads))]
    packed = core.split_heads(view, view.tensor(0), heads + 2 * kv_heads)
    bounds = list(itertools.accumulate((0, heads, kv_heads, kv_heads)))
    return [view.emit(op.strided_slice(packed, [1], [a], [b])) for a, b in itertools.pairwise(bounds)]


def _ends(view: NodeView) -> relax.Expr:
    """int64[batch]: the place of each sequence's last token."""
    ends = view.emit(op.astype(view.tensor(5), "int64"))
    return ends if view.rank(5) == 1 else view.emit(op.reshape(ends, shape_expr([view.shape(0)[0]])))


def _group_starts(view: NodeView, ends: relax.Expr, tokens: Dim) -> tuple[relax.Expr, Dim]:
    """How many tokens stand before the new ones, int64[batch], and how many the present caches hold.

    In the first step, where the longest sequence is as long as the new tokens, none does, whatever seqlens_k says.
    """
    known = view.elements(6)
    total: Dim = (
        known[0]
        if known is not None
        else runtime_shape(view, view.emit(op.astype(op.reshape(view.tensor(6), [1]), "int64")), 1).values[0]
    )
    past = view.shape(3)[2] if view.has(3) else 0
    before = view.emit(op.add(ends, view.emit(op.subtract(constant(np.int64(1)), core.extent_tensor(view, tokens)))))
    first = view.emit(op.equal(core.extent_tensor(view, total), core.extent_tensor(view, tokens)))
    starts = view.emit(op.where(first, relax.const(0, "int64"), before))
    if not view.has(3):
        return starts, tokens
    if view.extents.at_least(total, past):
        return starts, total
    return starts, view.extents.simplify(tirx.max(as_expr(total), as_expr(past)))


def _group_positions(view: NodeView, starts: relax.Expr, tokens: Dim) -> relax.Expr:
    if view.has(9):
        return view.tensor(9)
    batch = view.shape_of(starts)[0]
    return view.emit(op.reshape(core.query_places(view, tokens, starts), shape_expr([batch, tokens])))


# MultiHeadAttention and Attention


@lowers("MultiHeadAttention", domain=_MICROSOFT)
def _multi_head_attention(view: NodeView) -> Results:
    """query, key, value, bias, key_padding_mask, attention_bias, past_key, past_value."""
    _require_absent(view, past_sequence_length=8, cache_indirection=9)
    heads = view.attribute("num_heads")
    if view.rank(0) != 3 or not view.has(1) or not view.has(2):
        view.refuse("its queries, keys and values are packed in one tensor")
    if view.rank(1) not in (3, 4) or view.rank(1) != view.rank(2):
        view.refuse("its keys and values are packed in one tensor")
    separate = [view.tensor(index) for index in range(3)]
    if view.has(3):
        separate = _with_bias(view, separate, 3)
    q = core.split_heads(view, separate[0], heads)
    k, v = (core.split_heads(view, x, heads) if view.rank(1) == 3 else x for x in separate[1:])
    past: Dim = 0
    if view.has(6) and view.has(7):
        past = view.shape(6)[2]
        k, v = (view.emit(op.concat([view.tensor(i), new], 2)) for i, new in ((6, k), (7, v)))
    y, weights = _attend(view, q, k, v, mask=4, bias=5, past=past)
    return [y, k, v, weights]


@lowers("Attention", domain=_MICROSOFT)
def _contrib_attention(view: NodeView) -> Results:
    """input, weights, bias, mask_index, past, attention_bias."""
    _require(view, do_rotary=0, rotary_embedding_dim=0, past_present_share_buffer=0)
    _require_absent(view, past_sequence_length=6)
    heads = view.attribute("num_heads")
    hidden = view.shape(1)[1]
    sizes = view.attribute("qkv_hidden_sizes", None) or [hidden // 3] * 3
    if not isinstance(hidden, int) or len(sizes) != 3 or sum(sizes) != hidden:
        view.refuse(f"its weights have {hidden} columns for queries, keys and values of {sizes} channels")
    product = view.emit(op.matmul(view.tensor(0), view.tensor(1)))
    if view.has(2):
        product = view.emit(op.add(product, view.tensor(2)))
    bounds = list(itertools.accumulate((0, *sizes)))
    q, k, v = (
        core.split_heads(view, view.emit(op.strided_slice(product, [2], [a], [b])), heads)
        for a, b in itertools.pairwise(bounds)
    )
    past: Dim = 0
    if view.has(4):
        past = view.shape(4)[3]
        both = [view.emit(op.take(view.tensor(4), relax.const(i, "int64"), axis=0)) for i in (0, 1)]
        k, v = (view.emit(op.concat([old, new], 2)) for old, new in zip(both, (k, v), strict=True))
    y, _ = _attend(view, q, k, v, mask=3, bias=5, past=past)
    if not view.uses(1):
        return [y]
    return [y, op.concat([view.emit(op.expand_dims(x, 0)) for x in (k, v)], 0)]


def _with_bias(view: NodeView, parts: list[relax.Expr], index: int) -> list[relax.Expr]:
    """Queries, keys and values plus their parts of one bias."""
    if view.rank(1) != 3:
        view.refuse("it adds a bias to keys that are split into heads")
    sizes = [view.shape_of(part)[2] for part in parts]
    bounds = list(itertools.accumulate((0, *sizes)))
    biases = [view.emit(op.strided_slice(view.tensor(index), [0], [a], [b])) for a, b in itertools.pairwise(bounds)]
    return [view.emit(op.add(part, bias)) for part, bias in zip(parts, biases, strict=True)]


def _attend(
    view: NodeView, q: relax.Expr, k: relax.Expr, v: relax.Expr, *, mask: int, bias: int, past: Dim
) -> tuple[relax.Expr, relax.Expr]:
    filter_value = view.attribute("mask_filter_value", -10000.0)
    tokens, keys = view.shape_of(q)[2], view.shape_of(k)[2]
    scores = core.scores_of(view, q, k, view.attribute("scale", 0.0))
    scores = core.biased(view, scores, _padding(view, mask, keys, filter_value) if view.has(mask) else None)
    if view.attribute("unidirectional", 0):
        here = core.query_places(view, tokens, core.extent_tensor(view, past))
        seen = view.emit(op.less_equal(core.places(view, keys), here))
        scores = core.hide(view, scores, seen)
    scores = core.biased(view, scores, view.tensor(bias) if view.has(bias) else None)
    weights = core.softmax(view, scores)
    return core.merge_heads(view, core.mix(view, weights, v)), weights


def _padding(view: NodeView, index: int, keys: Dim, filter_value: float) -> relax.Expr:
    """What is added to the scores: 0 where the mask lets a key be seen, else ``filter_value``."""
    dims = view.shape(index)
    mask = view.tensor(index)
    if len(dims) == 1:
        seen = _seen_by_length(view, index, keys)
    elif len(dims) in (2, 3):
        shape = [dims[0], 1, *([1] if len(dims) == 2 else []), *dims[1:]]
        seen = view.emit(op.greater(view.emit(op.reshape(mask, shape_expr(shape))), relax.const(0, view.dtype(index))))
    else:
        view.refuse(f"its mask has {len(dims)} dimensions")
    return view.emit(op.where(seen, relax.const(0.0, "float32"), relax.const(filter_value, "float32")))


def _seen_by_length(view: NodeView, index: int, keys: Dim) -> relax.Expr:
    """A mask of ends, or of ends and then beginnings, for each sequence: bool[batch, 1, 1, keys]."""
    batch, count = view.shape(0)[0], view.shape(index)[0]
    given = view.emit(op.astype(view.tensor(index), "int64"))
    there = core.places(view, keys)

    def part(at: Dim) -> relax.Expr:
        if at == 0 and view.extents.equal(count, batch):
            chosen = given
        else:
            bounds = [x if isinstance(x, int) else relax.prim_value(x) for x in (at, view.extents.simplify(at + batch))]
            chosen = op.strided_slice(given, [0], [bounds[0]], [bounds[1]])
        return view.emit(op.reshape(view.emit(chosen), shape_expr([batch, 1, 1, 1])))

    before_end = view.emit(op.less(there, part(0)))
    if view.extents.equal(count, batch):
        return before_end
    if not view.extents.equal(count, 2 * batch if isinstance(batch, int) else batch * 2):
        view.refuse(f"its mask has {count} elements for {batch} sequences")
    return view.emit(op.logical_and(before_end, view.emit(op.greater_equal(there, part(batch)))))
