"""Pins: ops that the deployer gives to an owner, as hard constraints."""

from __future__ import annotations

import re
from collections.abc import Sequence

from byoc.errors import PinError, did_you_mean
from byoc.graph import Graph, Node
from byoc.partitioner.plan import HOST


def resolve_pins(pins: Sequence[str], graphs: Sequence[Graph], targets: Sequence[str]) -> list[dict[int, str]]:
    """For each graph, the pinned owner by op index.

    Raises :class:`PinError` for a pin that is malformed, matches no op, names an unknown owner, or contradicts another.
    """
    resolved: list[dict[int, tuple[str, str]]] = [{} for _ in graphs]
    for pin in pins:
        selector, separator, owner = pin.rpartition("=")
        if not separator or not selector:
            raise PinError(f'the pin "{pin}" is malformed', "", "write NODE=owner, op:TYPE=owner or /regex/=owner")
        if owner != HOST and owner not in targets:
            raise PinError(f'the pin "{pin}" names the owner "{owner}"', did_you_mean(owner, [*targets, HOST]))
        hits = 0
        for graph, owners in zip(graphs, resolved, strict=True):
            for node in graph.nodes:
                if _selects(selector, node):
                    hits += 1
                    earlier = owners.setdefault(node.index, (owner, pin))
                    if earlier[0] != owner:
                        raise PinError(f'the pins "{earlier[1]}" and "{pin}" both name {node.node or node.op}')
        if not hits:
            raise PinError(f'the pin "{pin}" matches no op of the model', _suggestion(selector, graphs))
    return [{i: owner for i, (owner, _) in owners.items()} for owners in resolved]


def _selects(selector: str, node: Node) -> bool:
    """Whether a pin means this op: by its own node, or by one whose work it does too."""
    origins = ((node.node, node.op_type), *node.absorbed)
    if selector.startswith("op:"):
        wanted = selector[3:].removeprefix("relax.")
        return wanted == node.op or any(wanted == op_type for _, op_type in origins)
    if len(selector) > 2 and selector.startswith("/") and selector.endswith("/"):
        return any(_regex(selector).search(name) for name, _ in origins)
    return any(name == selector for name, _ in origins)


def _regex(selector: str) -> re.Pattern[str]:
    try:
        return re.compile(selector[1:-1])
    except re.error as error:
        raise PinError(f'the pin "{selector}" holds a malformed regular expression', str(error)) from None


def _suggestion(selector: str, graphs: Sequence[Graph]) -> str:
    nodes = [n for g in graphs for n in g.nodes]
    if selector.startswith("op:"):
        return did_you_mean(selector[3:], {n.op for n in nodes} | {n.op_type for n in nodes if n.op_type})
    return did_you_mean(selector, {n.node for n in nodes if n.node})
