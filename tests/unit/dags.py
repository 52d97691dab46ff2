"""Graphs built by hand, and codegens that take the ops they are told to: no compiler needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from byoc.codegen import Codegen, Peaks
from byoc.graph import Graph, Node, Value
from byoc.partitioner.target import Target
from byoc.patterns import Pattern, op


def graph_from(
    ops: Sequence[tuple[str, Sequence[int]]], results: Iterable[int] | None = None, name: str = "main"
) -> Graph:
    """A graph of (op name, producers); a producer of -1 is the input ``x``.  By default unread ops are results."""
    x = Value("x", "float32", (4, 8))
    nodes: list[Node] = []
    for index, (op_name, producers) in enumerate(ops):
        inputs = tuple(x if p < 0 else nodes[p].outputs[0] for p in producers)
        node = Node(index, op_name, inputs, node=f"/n{index}", op_type=op_name.capitalize())
        node.outputs = (Value(f"v{index}", "float32", (4, 8), producer=node),)
        nodes.append(node)
    if results is None:
        read = {p for _, producers in ops for p in producers}
        results = [i for i in range(len(ops)) if i not in read]
    return Graph(name, nodes, set(results), [x])


def target(
    name: str,
    patterns: Mapping[str, Pattern] | Iterable[str],
    *,
    check: object = None,
    peaks: Peaks | None = None,
    cost: object = None,
) -> Target:
    """A target with those patterns, or with a pattern for each of those ops."""
    if not isinstance(patterns, Mapping):
        patterns = {o: op(o)(...) for o in patterns}
    members: dict[str, object] = {"patterns": patterns, "name": name}
    if check is not None:
        members["check"] = lambda self, m: check(m)  # type: ignore[operator]
    if cost is not None:
        members["cost"] = lambda self, m: cost(m)  # type: ignore[operator]
    if peaks is not None:
        members["peaks"] = peaks
    cls = type(name, (Codegen,), members)
    return Target(name, "1", cls(), {}, patterns)
