"""Why no pattern took an op: the pattern that came nearest, and what stopped it."""

from __future__ import annotations

from byoc.graph import Graph, Node
from byoc.partitioner.plan import Verdict
from byoc.partitioner.target import Target
from byoc.patterns import Mismatch, Pattern, match_at, roots

_MAX_READERS = 16


def nearest_miss(graph: Graph, node: Node, target: Target) -> Verdict:
    """The verdict of stage ``match`` for an op that no pattern of the target took."""
    if node.op.startswith("("):
        reason = f"{node.op.strip('()')} is not an op in a dataflow block, so that no pattern can name it"
        return Verdict(target.name, False, "match", reason)
    mentions = target.by_op.get(node.op, [])
    if not mentions:
        return Verdict(target.name, False, "match", f"no pattern of {target.name} has the op {node.op}")
    best, best_name = Mismatch(), ""
    for name, pattern, distance in mentions:
        miss = _attempt(graph, node, pattern, distance)
        if miss.depth > best.depth:
            best, best_name = miss, name
    return Verdict(target.name, False, "match", f'nearest pattern "{best_name}": {best.reason}', best_name, best.at)


def _attempt(graph: Graph, node: Node, pattern: Pattern, distance: int) -> Mismatch:
    """The best attempt at `pattern` from the ops that read `node` over `distance` steps."""
    best = Mismatch()
    readers = [node.index]
    for _ in range(distance):
        readers = list(dict.fromkeys(u for i in readers for u in graph.users[i]))[:_MAX_READERS]
    for reader in readers:
        miss = Mismatch()
        if graph.nodes[reader].op in roots(pattern) and match_at(pattern, graph.nodes[reader], miss) is None:
            best.note(miss.depth, miss.reason, miss.at)
    if best.depth < 0:
        wanted = " or ".join(sorted(roots(pattern)))
        direct = sorted({graph.nodes[u].op for u in graph.users[node.index]}) or ["the caller"]
        place = "after it" if distance == 1 else f"{distance} ops after it"
        best.note(0, f"needs {wanted} {place}, where {', '.join(direct)} reads it", node.output.name)
    return best
