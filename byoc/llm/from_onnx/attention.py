"""Attention over keys and values of the past, found by its shape around a softmax."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import tvm

from byoc.errors import UnsupportedModelError
from byoc.llm.from_onnx.graph import Bindings, op_name, same_extent, shape_of

_SHAPES = ("reshape", "permute_dims", "expand_dims", "squeeze", "broadcast_to", "astype", "repeat", "tile")
_FACTORS = ("multiply", "divide")
_SCORES = (*_FACTORS, *_SHAPES, "add", "subtract", "where", "maximum", "minimum")
_WEIGHTS = ("astype", "reshape", "where", "strided_slice", "multiply")


@dataclass(frozen=True)
class Side:
    """Keys or values: those of the past and the new ones, [batch, kv_heads, tokens, head_dim], and both joined.

    ``past`` is a parameter, or a slice of one that holds keys and values together.
    """

    past: Any
    new: Any
    joined: Any


@dataclass(frozen=True)
class Attention:
    """One attention over a past.

    Attributes
    ----------
    query, result: [batch, heads, tokens, head_dim].
    scale: product of the numbers that queries, keys and their products are multiplied by.
    """

    query: Any
    keys: Side
    values: Side
    result: Any
    scale: float
    heads: int
    kv_heads: int
    head_dim: int


def find_attentions(graph: Bindings) -> list[Attention]:
    """All of them, in program order.  Raises :class:`UnsupportedModelError` for one of a form that is not known."""
    sides = {side.joined: side for side in _sides(graph)}
    found = []
    for binding in graph.order:
        if op_name(binding.value) == "nn.softmax":
            attention = _around(graph, binding.var, sides)
            if attention is not None:
                found.append(attention)
    used = {side.joined for a in found for side in (a.keys, a.values)}
    for joined in sides:
        if joined not in used:
            raise UnsupportedModelError(
                f"{graph.node(joined)} joins a past with new tokens, and no attention that byoc knows reads it",
                "a cache takes the place of keys and values of softmax(scale q k' + mask) v",
                "compile the model without --kv and --context, with its past as inputs",
            )
    return found


def _sides(graph: Bindings) -> Iterator[Side]:
    params = set(graph.params.values())
    for binding in graph.order:
        call, name = binding.value, op_name(binding.value)
        if name == "byoc.kv_join":
            parts = list(call.args)[:2]
        elif name == "concat" and len(call.args[0].fields) == 2 and int(call.attrs.axis) in (2, -2):
            parts = list(call.args[0].fields)
        else:
            continue
        past = graph.call(parts[0])
        origin = parts[0] if past is None or op_name(past) not in ("take", "squeeze", "strided_slice") else past.args[0]
        while graph.call(origin) is not None and op_name(graph.call(origin)) in ("split", "strided_slice", "squeeze"):
            origin = graph.call(origin).args[0]
        if origin in params and len(shape_of(parts[1]) or ()) == 4:
            yield Side(parts[0], parts[1], binding.var)


def _around(graph: Bindings, softmax: Any, sides: dict[Any, Side]) -> Attention | None:
    product, factors = _product(graph, graph.values[softmax].args[0])
    if product is None:
        return None
    left, right = graph.call(product).args[:2]
    keys, key_factors = _back_to(graph, right, sides)
    if keys is None:
        return None
    batch, kv_heads, tokens, dim = shape_of(keys.new) or [None] * 4
    query, query_factors = _query(graph, left, batch, tokens, dim)
    mixed = _mixed(graph, softmax)
    values, value_factors = _back_to(graph, graph.call(mixed).args[1], sides) if mixed is not None else (None, 1.0)
    result = _result(graph, mixed, batch, tokens) if mixed is not None else None
    if query is None or values is None or result is None or value_factors != 1.0:
        return None
    heads = (shape_of(query) or [0, 0])[1]
    if not all(isinstance(n, int) for n in (heads, kv_heads, dim)) or heads % kv_heads:
        return None
    return Attention(
        query, keys, values, result, factors * key_factors * query_factors, int(heads), int(kv_heads), int(dim)
    )


def _number(expr: Any) -> float | None:
    """A constant of one element."""
    if not isinstance(expr, tvm.ir.GenericConst):
        return None
    array = expr.value.numpy()
    return float(array.reshape(())) if array.size == 1 else None


def _factor(graph: Bindings, call: Any) -> tuple[Any, float]:
    """What a product or a quotient with a number multiplies, and by how much; (None, 1) for another call."""
    if op_name(call) not in _FACTORS:
        return None, 1.0
    right, left = _number(call.args[1]), _number(call.args[0])
    if right is not None:
        return call.args[0], 1 / right if op_name(call) == "divide" else right
    return (call.args[1], left) if left is not None and op_name(call) == "multiply" else (None, 1.0)


def _product(graph: Bindings, expr: Any) -> tuple[Any, float]:
    """The product of queries and keys that scores are computed from, and the factors on the way."""
    call = graph.call(expr)
    name = op_name(call)
    if name == "matmul":
        return expr, 1.0
    if name not in _SCORES:
        return None, 1.0
    inner, factor = _factor(graph, call)
    for operand in [inner] if inner is not None else list(call.args):
        product, more = _product(graph, operand)
        if product is not None:
            return product, factor * more
    return None, 1.0


def _back_to(graph: Bindings, expr: Any, sides: dict[Any, Side]) -> tuple[Side | None, float]:
    """The joined keys or values that `expr` arranges, and the factors on the way."""
    found, factor = _behind(graph, expr, sides.__contains__)
    return (None if found is None else sides[found]), factor


def _query(graph: Bindings, expr: Any, batch: Any, tokens: Any, dim: Any) -> tuple[Any, float]:
    """The nearest value behind `expr` of shape [batch, heads, tokens, dim], and the factors on the way."""
    return _behind(graph, expr, lambda value: _is(shape_of(value), batch, tokens, dim))


def _behind(graph: Bindings, expr: Any, wanted: Callable[[Any], bool]) -> tuple[Any, float]:
    """The nearest wanted value that `expr` arranges or multiplies by numbers, and these; None where there is none."""
    factor = 1.0
    while not wanted(expr):
        call = graph.call(expr)
        inner, more = _factor(graph, call)
        if inner is not None:
            expr, factor = inner, factor * more
        elif op_name(call) in _SHAPES:
            expr = call.args[0]
        else:
            return None, 1.0
    return expr, factor


def _is(shape: list[Any] | None, batch: Any, tokens: Any, dim: Any) -> bool:
    if shape is None or len(shape) != 4:
        return False
    return all(same_extent(a, b) for a, b in ((shape[0], batch), (shape[2], tokens), (shape[3], dim)))


def _mixed(graph: Bindings, softmax: Any) -> Any:
    """The product of weights and values behind a softmax."""
    var = softmax
    while True:
        readers = [r for r in graph.readers.get(var, ()) if op_name(graph.values[r]) in (*_WEIGHTS, "matmul")]
        if len(readers) != 1:
            return None
        (var,) = readers
        if op_name(graph.values[var]) == "matmul":
            return var


def _result(graph: Bindings, mixed: Any, batch: Any, tokens: Any) -> Any:
    var = mixed
    while not _is(shape_of(var), batch, tokens, (shape_of(var) or [0])[-1]):
        readers = graph.readers.get(var, ())
        if len(readers) != 1 or op_name(graph.values[readers[0]]) != "reshape":
            return None
        (var,) = readers
    return var
