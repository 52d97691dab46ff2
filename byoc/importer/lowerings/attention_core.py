"""Attention in Relax ops, for all the operators that are some form of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from tvm import relax

from byoc.importer.lowerings.elementwise import align
from byoc.importer.lowerings.reshape import shape_expr
from byoc.importer.node_view import NodeView
from byoc.importer.values import Dim, constant

op = relax.op
_MOST_PLACES = 1 << 16  # of positions that are a constant
_NEVER = float(np.finfo(np.float32).min)  # the score of a key that a query does not see


def split_heads(view: NodeView, x: relax.Expr, heads: int) -> relax.Expr:
    """``[batch, tokens, heads * dim]`` as ``[batch, heads, tokens, dim]``."""
    batch, tokens, hidden = view.shape_of(x)
    if not isinstance(hidden, int) or heads <= 0 or hidden % heads:
        view.refuse(f"its {hidden} channels do not fall into {heads} heads")
    apart = view.emit(op.reshape(x, shape_expr([batch, tokens, heads, hidden // heads])))
    return view.emit(op.permute_dims(apart, [0, 2, 1, 3]))


def merge_heads(view: NodeView, x: relax.Expr) -> relax.Expr:
    """The inverse of :func:`split_heads`."""
    batch, heads, tokens, dim = view.shape_of(x)
    return op.reshape(view.emit(op.permute_dims(x, [0, 2, 1, 3])), shape_expr([batch, tokens, heads * dim]))


def scores_of(view: NodeView, q: relax.Expr, k: relax.Expr, scale: float | None) -> relax.Expr:
    """``scale * q @ k.T``: ``q`` [batch, heads, queries, dim], ``k`` [batch, kv_heads, keys, dim].

    ``scale`` None or 0 stands for ``dim ** -0.5``.  Heads that share keys are rows of one product.  Scores are float32
    even of 16-bit operands: beside a mask's -10000 they would have no digits left.
    """
    batch, heads, queries, dim = view.shape_of(q)
    kv_heads, keys = view.shape_of(k)[1:3]
    if not isinstance(heads, int) or not isinstance(kv_heads, int) or heads % kv_heads:
        view.refuse(f"its {heads} query heads do not share {kv_heads} heads of keys evenly")
    factor = scale or 1.0 / math.sqrt(int(dim))
    scaled = view.emit(op.multiply(q, relax.const(factor, _dtype(view, q))))
    product = view.emit(op.matmul(_rows(view, scaled, kv_heads), view.emit(op.permute_dims(k, [0, 1, 3, 2]))))
    product = _as(view, product, "float32")
    return product if kv_heads == heads else view.emit(op.reshape(product, shape_expr([batch, heads, queries, keys])))


def mix(view: NodeView, weights: relax.Expr, v: relax.Expr) -> relax.Expr:
    """``weights @ v``, with ``weights`` [batch, heads, queries, keys] and ``v`` [batch, kv_heads, keys, dim]."""
    batch, heads, queries, _ = view.shape_of(weights)
    kv_heads, dim = view.shape_of(v)[1], view.shape_of(v)[3]
    weights = _as(view, weights, _dtype(view, v))
    product = view.emit(op.matmul(_rows(view, weights, int(kv_heads)), v))
    return product if kv_heads == heads else view.emit(op.reshape(product, shape_expr([batch, heads, queries, dim])))


def _rows(view: NodeView, x: relax.Expr, kv_heads: int) -> relax.Expr:
    batch, heads, queries, width = view.shape_of(x)
    if heads == kv_heads:
        return x
    return view.emit(op.reshape(x, shape_expr([batch, kv_heads, heads // kv_heads * queries, width])))


def capped(view: NodeView, scores: relax.Expr, softcap: float) -> relax.Expr:
    """``softcap * tanh(scores / softcap)``; 0: no cap."""
    if not softcap:
        return scores
    cap = relax.const(softcap, _dtype(view, scores))
    return view.emit(op.multiply(view.emit(op.tanh(op.divide(scores, cap))), cap))


def biased(view: NodeView, scores: relax.Expr, bias: relax.Expr | None) -> relax.Expr:
    """Scores plus a bias that broadcasts to them."""
    if bias is None:
        return scores
    return view.emit(op.add(*align(view, scores, _as(view, bias, _dtype(view, scores)))))


def hide(view: NodeView, scores: relax.Expr, seen: relax.Expr) -> relax.Expr:
    """Scores where ``seen`` (bool) says so, else the lowest number that there is."""
    scores, seen = align(view, scores, seen)
    return view.emit(op.where(seen, scores, relax.const(_NEVER, _dtype(view, scores))))


def softmax(view: NodeView, scores: relax.Expr, sink: relax.Expr | None = None) -> relax.Expr:
    """Over the keys; ``sink`` [heads] or [1] is the score of one more key, whose value is nothing."""
    if sink is None:
        return view.emit(op.nn.softmax(scores, -1))
    batch, heads, queries, keys = view.shape_of(scores)
    sink = _as(view, sink, _dtype(view, scores))
    column = view.emit(op.reshape(sink, shape_expr([1, view.shape_of(sink)[0], 1, 1])))
    column = view.emit(op.broadcast_to(column, shape_expr([batch, heads, queries, 1])))
    both = view.emit(op.nn.softmax(view.emit(op.concat([scores, column], 3)), -1))
    return view.emit(op.strided_slice(both, [3], [0], [_prim(keys)], assume_inbound=True))


def places(view: NodeView, count: Dim) -> relax.Expr:
    """int64 ``0 .. count - 1``."""
    return (
        constant(np.arange(count))
        if isinstance(count, int) and count <= _MOST_PLACES
        else view.emit(op.arange(0, _prim(count), 1, "int64"))
    )


def query_places(view: NodeView, queries: Dim, starts: relax.Expr) -> relax.Expr:
    """int64[batch, 1, queries, 1]: where each query stands, the first of a sequence at its entry of ``starts``."""
    rows = view.emit(op.reshape(places(view, queries), shape_expr([1, 1, queries, 1])))
    batch = view.shape_of(starts)[0]
    return view.emit(op.add(rows, view.emit(op.reshape(starts, shape_expr([batch, 1, 1, 1])))))


def extent_tensor(view: NodeView, extent: Dim, size: int = 1) -> relax.Expr:
    """int64[size], every element the extent."""
    if isinstance(extent, int):
        return constant(np.full(size, extent, np.int64))
    return view.emit(op.shape_to_tensor(shape_expr([extent] * size)))


def _as(view: NodeView, x: relax.Expr, dtype: str) -> relax.Expr:
    return x if _dtype(view, x) == dtype else view.emit(op.astype(x, dtype))


def _dtype(view: NodeView, x: Any) -> str:
    return view.builder.dtype_of(x)


def _prim(extent: Dim) -> Any:
    return extent if isinstance(extent, int) else relax.prim_value(extent)
