"""Replace groups of ops that spell one op by that op: patterns as codegens write them, with what to build instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import tvm
from tvm import relax

from byoc.graph import Graph, Node, Value
from byoc.importer.origin import Origin, absorbed_origins, origin_of, with_origin
from byoc.importer.values import constant
from byoc.patterns import Alternatives, OpPattern, Pattern, match_at, roots
from byoc.relax_graph import blocks_of, graph_of
from byoc.rewrite.bindings import rewrite_bindings


class Found:
    """One place where the pattern of a lift matched; ``found["x"]`` is the captured value."""

    def __init__(self, captures: Mapping[str, Value], nodes: Sequence[Node], variables: Mapping[int, Any]) -> None:
        self.captures, self.nodes, self._variables = captures, nodes, variables

    def __getitem__(self, name: str) -> Value:
        return self.captures[name]

    def __contains__(self, name: str) -> bool:
        return name in self.captures

    @property
    def out(self) -> Value:
        """What the group computes."""
        return self.nodes[-1].output

    def expr(self, name: str) -> Any:
        """The Relax expression of a captured value."""
        value = self.captures[name]
        return value.ref if value.is_constant else self._variables[id(value)]

    def op(self, name: str) -> Node:
        """The only op of that name in the group."""
        (node,) = (node for node in self.nodes if node.op == name)
        return node

    def number(self, name: str) -> float | None:
        """A captured constant of one element, or None."""
        array = self.captures[name].constant
        return float(array.reshape(())) if array is not None and array.size == 1 else None

    def is_number(self, name: str, wanted: float, tolerance: float = 0.0) -> bool:
        """Whether a captured constant is that number, up to a relative tolerance."""
        number = self.number(name)
        return number is not None and abs(number - wanted) <= tolerance * abs(wanted)


@dataclass(frozen=True)
class Lift:
    """A group of ops and the one that it spells.

    Attributes
    ----------
    build: the Relax call to put in place of the group, of the same shape and dtype; None where the constants or
        attributes show that the group is something else.
    """

    name: str
    pattern: Pattern
    build: Callable[[Found], Any]


# Spelled-out numbers come in float32, some after a computation in float32.
ROUNDING = 1e-6


def lift_ops(module: tvm.IRModule, lifts: Sequence[Lift]) -> tvm.IRModule:
    """The module with every group that one of `lifts` matches replaced; earlier lifts win at the same root.

    A group is left alone where a value inside it is read from outside.  What replaces it has the origin of its last
    op, and says which others it absorbed.
    """

    def start(function: Any) -> Any:
        replaced = _replacements(function, lifts)
        return lambda binding: [_rebound(binding, replaced[binding.var])] if binding.var in replaced else [binding]

    return rewrite_bindings(module, start)


def _op_names(function: Any) -> set[str]:
    calls = (binding.value for block in blocks_of(function.body) for binding in block.bindings)
    return {str(c.op.name).removeprefix("relax.") for c in calls if hasattr(c, "op") and isinstance(c.op, tvm.ir.Op)}


def _possible(pattern: Pattern, names: set[str]) -> bool:
    """Whether a function with these ops can have a match at all."""
    if isinstance(pattern, Alternatives):
        return any(_possible(option, names) for option in pattern.patterns)
    if isinstance(pattern, OpPattern):
        return pattern.op_name in names and all(_possible(i, names) for i in pattern.inputs or ())
    return True


def _replacements(function: Any, lifts: Sequence[Lift]) -> dict[Any, Any]:
    """What is to be computed in place of some variables' values; the groups do not overlap."""
    names = _op_names(function)
    by_root: dict[str, list[Lift]] = {}
    for one in lifts:
        if _possible(one.pattern, names):
            for root in sorted(roots(one.pattern)):
                by_root.setdefault(root, []).append(one)
    if not by_root:
        return {}
    graph = graph_of("", function)
    places = _Places(graph)
    taken: set[int] = set()
    replaced = {}
    for node in reversed(graph.nodes):  # the group that ends last is the largest
        for one in by_root.get(node.op, ()) if node.index not in taken else ():
            call = _lifted(places, one, node, taken)
            if call is not None:
                replaced[node.ref.binding.var] = call
                break
    return replaced


class _Places:
    """A graph, and the variables of its values."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    @cached_property
    def variables(self) -> dict[int, Any]:
        home = self.graph.nodes[0].ref.home
        return {id(value): variable for variable, value in home.values.items() if isinstance(value, Value)}


def _lifted(places: _Places, lift: Lift, node: Node, taken: set[int]) -> Any:
    matched = match_at(lift.pattern, node)
    if matched is None:
        return None
    captures, nodes = matched
    inside = {n.index for n in nodes}
    if inside & taken or any(n.block != node.block for n in nodes):
        return None
    if any(places.graph.escapes(n.index, inside) for n in nodes[:-1]):
        return None
    found = Found(captures, nodes, places.variables)
    if any(not v.is_constant and id(v) not in places.variables for v in captures.values()):
        return None
    call = lift.build(found)
    if call is not None:
        taken |= inside
    return None if call is None else _with_origins(call, nodes)


def _with_origins(call: Any, nodes: Sequence[Node]) -> Any:
    own = origin_of(nodes[-1].ref.binding.value)
    others: list[Origin] = []
    for node in nodes:
        expr = node.ref.binding.value
        origin = origin_of(expr)
        others += ([] if origin is None else [origin]) + list(absorbed_origins(expr))
    return with_origin(call, own, others) if own is not None else call


def _rebound(binding: Any, call: Any) -> Any:
    return relax.VarBinding(binding.var, call)


def same_shape(a: Value, b: Value) -> bool:
    """Whether two values are known to have one shape."""
    return a.shape is not None and b.shape is not None and tuple(a.shape) == tuple(b.shape)


def trailing_axes(axes: Sequence[int], rank: int) -> list[int] | None:
    """Axes as ascending numbers from 0, if they are the last ones; else None."""
    positive = sorted(int(axis) % rank for axis in axes)
    return positive if positive and positive == list(range(rank - len(positive), rank)) else None


def weight_of(found: Found, name: str, shape: Sequence[Any]) -> Any:
    """A captured weight in exactly the shape that is normalised, or None; a constant is reshaped or spread."""
    value = found[name]
    if value.shape is not None and tuple(value.shape) == tuple(shape):
        return found.expr(name)
    array = value.constant
    if array is None or not all(isinstance(d, int) for d in shape):
        return None
    if array.ndim > len(shape) and any(d != 1 for d in array.shape[: array.ndim - len(shape)]):
        return None
    trailing = array.reshape(array.shape[max(0, array.ndim - len(shape)) :])
    try:
        return constant(np.ascontiguousarray(np.broadcast_to(trailing, tuple(shape))))
    except ValueError:
        return None
