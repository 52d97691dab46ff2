"""Rotary position embedding with tables of cosines and sines (RoFormer, 2104.09864)."""

from __future__ import annotations

from tvm import relax

from byoc.importer.lowerings.attention_core import merge_heads, places, split_heads
from byoc.importer.lowerings.reshape import shape_expr
from byoc.importer.node_view import NodeView
from byoc.importer.table import lowers
from byoc.importer.values import Value

op = relax.op


def rotate(view: NodeView, x: relax.Expr, cosines: relax.Expr, sines: relax.Expr, interleaved: bool) -> relax.Expr:
    """Turn pairs of the first channels of ``x`` [batch, heads, tokens, dim]; the others stay.

    The tables are [batch, tokens, pairs].  A pair is (k, k + pairs), or (2k, 2k + 1) if interleaved.
    """
    batch, heads, tokens, dim = view.shape_of(x)
    pairs = view.shape_of(cosines)[-1]
    if not isinstance(dim, int) or not isinstance(pairs, int) or 2 * pairs > dim:
        view.refuse(f"it turns {pairs} pairs of {dim} channels")
    table = view.shape_of(cosines)[:2]
    cosines, sines = (view.emit(op.reshape(t, shape_expr([table[0], 1, table[1], pairs]))) for t in (cosines, sines))
    turned = x if dim == 2 * pairs else view.emit(op.strided_slice(x, [3], [0], [2 * pairs]))
    if interleaved:
        apart = view.emit(op.reshape(turned, shape_expr([batch, heads, tokens, pairs, 2])))
        halves = [
            view.emit(op.reshape(op.strided_slice(apart, [4], [k], [k + 1]), shape_expr([batch, heads, tokens, pairs])))
            for k in (0, 1)
        ]
    else:
        halves = [view.emit(op.strided_slice(turned, [3], [k * pairs], [(k + 1) * pairs])) for k in (0, 1)]
    first, second = halves
    left = view.emit(op.subtract(op.multiply(first, cosines), op.multiply(second, sines)))
    right = view.emit(op.add(op.multiply(first, sines), op.multiply(second, cosines)))
    if interleaved:
        deep = [view.emit(op.expand_dims(half, 4)) for half in (left, right)]
        turned = view.emit(op.reshape(view.emit(op.concat(deep, 4)), shape_expr([batch, heads, tokens, 2 * pairs])))
        parts = [turned]
    else:
        parts = [left, right]
    if dim != 2 * pairs:
        parts.append(view.emit(op.strided_slice(x, [3], [2 * pairs], [dim])))
    return view.emit(op.concat(parts, 3)) if len(parts) > 1 else parts[0]


def rows_of(view: NodeView, table: relax.Expr, positions: relax.Expr) -> relax.Expr:
    """Rows of a table [positions, pairs] for int positions [batch, tokens]."""
    return view.emit(op.take(table, positions, axis=0, mode="clip"))


@lowers("RotaryEmbedding", domain="com.microsoft")
def _contrib_rotary_embedding(view: NodeView) -> Value:
    """input, position_ids, cos_cache, sin_cache."""
    heads, width = view.attribute("num_heads", 0), view.attribute("rotary_embedding_dim", 0)
    if view.attribute("is_packed_batching", 0):
        view.refuse("its batch is packed")
    if view.attribute("scale", 1.0) != 1.0:
        view.refuse(f"its scale is {view.attribute('scale')}")
    pairs = view.shape(2)[1]
    if width and (not heads or not isinstance(pairs, int) or width != 2 * pairs):
        view.refuse(f"its rotary_embedding_dim is {width} and its tables have {pairs} columns for {heads} heads")
    flat = view.rank(0) == 3
    x = view.tensor(0)
    if flat:
        hidden = view.shape(0)[2]
        if not heads and not (isinstance(hidden, int) and isinstance(pairs, int)):
            view.refuse("its number of heads is not known at import")
        x = split_heads(view, x, heads or hidden // (2 * pairs))
    positions = _positions(view, 1, view.shape_of(x)[2])
    cosines, sines = (rows_of(view, view.tensor(index), positions) for index in (2, 3))
    turned = rotate(view, x, cosines, sines, bool(view.attribute("interleaved", 0)))
    return merge_heads(view, turned) if flat else turned


@lowers("RotaryEmbedding", since=23)
def _rotary_embedding(view: NodeView) -> Value:
    """X, cos_cache, sin_cache, position_ids."""
    heads, width = view.attribute("num_heads", 0), view.attribute("rotary_embedding_dim", 0)
    x, flat = view.tensor(0), view.rank(0) == 3
    if flat:
        x = split_heads(view, x, heads)
    cosines, sines = view.tensor(1), view.tensor(2)
    if view.has(3):
        cosines, sines = (rows_of(view, table, view.tensor(3)) for table in (cosines, sines))
    pairs, dim = view.shape_of(cosines)[-1], view.shape_of(x)[3]
    if not isinstance(pairs, int) or 2 * pairs != (width or dim):
        view.refuse(f"its tables have {pairs} columns to turn {width or dim} channels")
    turned = rotate(view, x, cosines, sines, bool(view.attribute("interleaved", 0)))
    return merge_heads(view, turned) if flat else turned


def _positions(view: NodeView, index: int, tokens: int) -> relax.Expr:
    """Positions [batch, tokens]; an input of one element is the first token's."""
    given = view.tensor(index)
    if view.rank(index) == 2:
        return given
    steps = view.emit(op.reshape(places(view, tokens), shape_expr([1, tokens])))
    return view.emit(op.add(steps, view.emit(op.reshape(given, shape_expr([1, 1])))))
