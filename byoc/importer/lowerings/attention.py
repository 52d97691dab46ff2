"""The standard's own attention (opset 23 on), and the cache update that goes with it (opset 24)."""

from __future__ import annotations

import numpy as np
from tvm import relax

from byoc.importer.lowerings import attention_core as core
from byoc.importer.lowerings.elementwise import align
from byoc.importer.lowerings.reshape import shape_expr
from byoc.importer.node_view import NodeView
from byoc.importer.table import Results, lowers
from byoc.importer.values import Dim, Value, constant
from byoc.ops.tensor_scatter import scattered

op = relax.op
_HIDDEN = relax.const(-np.inf, "float32")
_MASK, _PAST_KEY, _PAST_VALUE, _FILLED = 3, 4, 5, 6  # inputs
_RAW, _CAPPED, _BIASED, _WEIGHTS = range(4)  # what the fourth output shows


@lowers("Attention", since=23)
def _attention(view: NodeView) -> Results:
    """Q, K, V, attn_mask, past_key, past_value, nonpad_kv_seqlen."""
    heads, kv_heads = view.attribute("q_num_heads", 0), view.attribute("kv_num_heads", 0)
    view.mark_read("softmax_precision")  # scores are float32
    flat = view.rank(0) == 3
    q, k, v = (view.tensor(i) for i in range(3))
    if flat:
        q, k, v = (core.split_heads(view, x, n) for x, n in ((q, heads), (k, kv_heads), (v, kv_heads)))
    past: Dim = 0
    if view.has(_PAST_KEY):
        past = view.shape(_PAST_KEY)[2]
        k, v = (view.emit(op.concat([view.tensor(i), x], 2)) for i, x in ((_PAST_KEY, k), (_PAST_VALUE, v)))
    raw = core.scores_of(view, q, k, view.attribute("scale", 0.0))
    capped = core.capped(view, raw, view.attribute("softcap", 0.0))
    tokens, keys = view.shape_of(q)[2], view.shape_of(k)[2]
    bias = _bias(view, tokens, keys, past)
    scores = capped if bias is None else core.biased(view, capped, bias)
    weights = core.softmax(view, scores)
    if bias is not None:  # a query that sees no key gets nothing
        sees = view.emit(op.greater(view.emit(op.max(bias, -1, keepdims=True)), _HIDDEN))
        sees, weights = align(view, sees, weights)
        weights = view.emit(op.where(sees, weights, relax.const(0.0, "float32")))
    shown = (raw, capped, scores, weights)[view.attribute("qk_matmul_output_mode", _RAW)]
    y = core.mix(view, weights, v)
    results: list[Value | None] = [core.merge_heads(view, y) if flat else y, k, v]
    return [*results, op.astype(shown, view.dtype(0))] if view.uses(3) else results


def _bias(view: NodeView, tokens: Dim, keys: Dim, past: Dim) -> relax.Expr | None:
    """What is added to the scores, float32: the mask, and -inf where a query does not see a key; None for nothing."""
    bias = _mask(view, keys) if view.has(_MASK) else None
    for seen in _seen(view, tokens, keys, past):
        hidden = view.emit(op.where(seen, relax.const(0.0, "float32"), _HIDDEN))
        bias = hidden if bias is None else view.emit(op.add(*align(view, bias, hidden)))
    return bias


def _mask(view: NodeView, keys: Dim) -> relax.Expr:
    """The mask as a bias; keys behind its end are hidden."""
    mask, dims = view.tensor(_MASK), view.shape(_MASK)
    if view.dtype(_MASK) == "bool":
        mask = view.emit(op.where(mask, relax.const(0.0, "float32"), _HIDDEN))
    elif view.dtype(_MASK) != "float32":
        mask = view.emit(op.astype(mask, "float32"))
    if dims[-1] == 1 or view.extents.equal(dims[-1], keys):
        return mask
    if not isinstance(dims[-1], int) or not isinstance(keys, int):
        view.refuse(f"its mask has {dims[-1]} columns for {keys} keys, and which are more is not known at import")
    hidden = constant(np.full([1] * len(dims), -np.inf, np.float32))
    rest = view.emit(op.broadcast_to(hidden, shape_expr([*dims[:-1], keys - dims[-1]])))
    return view.emit(op.concat([mask, rest], len(dims) - 1))


def _seen(view: NodeView, tokens: Dim, keys: Dim, past: Dim) -> list[relax.Expr]:
    """Conditions for a query to see a key: bool, each of a shape that broadcasts to [batch, heads, queries, keys]."""
    left, right = (view.attribute(f"{side}_window_size", -1) for side in ("left", "right"))
    there, found = core.places(view, keys), []
    if view.has(_FILLED):
        filled = view.emit(op.astype(view.tensor(_FILLED), "int64"))
        ends = view.emit(op.reshape(filled, shape_expr([view.shape(0)[0], 1, 1, 1])))
        found.append(view.emit(op.less(there, ends)))
        starts = view.emit(op.subtract(filled, core.extent_tensor(view, tokens)))
    else:
        starts = core.extent_tensor(view, past)
    ahead = None
    if view.attribute("is_causal", 0) or left >= 0 or right >= 0:
        ahead = view.emit(op.subtract(there, core.query_places(view, tokens, starts)))
    if ahead is not None and view.attribute("is_causal", 0):
        found.append(view.emit(op.less_equal(ahead, relax.const(0, "int64"))))
    if ahead is not None and left >= 0:
        found.append(view.emit(op.greater_equal(ahead, relax.const(-left, "int64"))))
    if ahead is not None and right >= 0:
        found.append(view.emit(op.less_equal(ahead, relax.const(right, "int64"))))
    return found


@lowers("TensorScatter", since=24)
def _tensor_scatter(view: NodeView) -> Value:
    """past_cache, update, write_indices."""
    rank = view.rank(0)
    axis = view.axis(view.attribute("axis", -2), rank)
    mode = view.attribute("mode", "linear")
    if axis == 0 or mode not in ("linear", "circular"):
        view.refuse(f"it writes along axis {axis} in the mode {mode}")
    batch = view.shape(0)[0]
    if view.has(2):
        starts = view.emit(op.astype(view.tensor(2), "int64"))
    else:
        starts = view.emit(op.zeros(shape_expr([batch]), "int64"))
    return scattered(view.tensor(0), view.tensor(1), starts, axis, mode == "circular")
