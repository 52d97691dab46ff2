"""Find where a target's patterns match, and ask its `check`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from byoc.codegen import VENDOR_FAULTS, Match, Reject, guilty_line
from byoc.errors import CheckError
from byoc.graph import Graph, Node
from byoc.partitioner.plan import Verdict
from byoc.partitioner.target import Target
from byoc.patterns import Pattern, match_at


@dataclass(frozen=True)
class Candidate:
    """A match that the target's `check` accepted."""

    rank: int
    match: Match
    ops: tuple[int, ...]

    @property
    def root(self) -> int:
        """Index of the op at the pattern's root."""
        return self.ops[-1]


@dataclass
class TargetMatches:
    """What a target could take in one graph.

    `candidates` may overlap and stand in the order in which they are preferred; `refused` holds, for an op, the
    verdict of the most preferred match that covers it and was refused.
    """

    target: Target
    candidates: list[Candidate] = field(default_factory=list)
    refused: dict[int, Verdict] = field(default_factory=dict)

    def select(self, available: Callable[[int], bool]) -> list[Candidate]:
        """The candidates to use, none overlapping, all of whose ops are available."""
        taken: set[int] = set()
        chosen = []
        for candidate in self.candidates:
            if all(available(i) and i not in taken for i in candidate.ops):
                taken.update(candidate.ops)
                chosen.append(candidate)
        return chosen


def find_matches(graph: Graph, target: Target) -> TargetMatches:
    """Every match of the target's patterns, checked.  Raises :class:`CheckError` when `check` misbehaves."""
    found = TargetMatches(target)
    refusals: list[tuple[int, int, Node, tuple[int, ...], Verdict]] = []
    for node in graph.nodes:
        for rank, name, pattern in target.by_root.get(node.op, ()):
            matched = match_pattern(graph, pattern, node)
            if matched is None:
                continue
            captures, nodes = matched
            ops = tuple(n.index for n in nodes)
            leak = _leak(graph, nodes)
            if leak is not None:
                refusals.append((rank, node.index, node, ops, _refusal(target, name, leak, stage="match")))
                continue
            match = Match(name, tuple(nodes), captures, target.options)
            refusal = _check(target, match)
            if refusal is None:
                found.candidates.append(Candidate(rank, match, ops))
            else:
                refusals.append((rank, node.index, node, ops, _refusal(target, name, refusal, stage="check")))
    found.candidates.sort(key=lambda c: (c.rank, c.root))
    for *_, ops, verdict in sorted(refusals, key=lambda r: (r[4].stage == "match", r[0], r[1])):
        for i in ops:
            found.refused.setdefault(i, verdict)
    return found


def match_pattern(graph: Graph, pattern: Pattern, node: Node) -> tuple[dict, list[Node]] | None:
    """Captures and ops (topological order, root last) of `pattern` with `node` at its root."""
    matched = match_at(pattern, node)
    if matched is None or any(n.block != node.block for n in matched[1]):
        return None
    return matched


def _leak(graph: Graph, nodes: list[Node]) -> Reject | None:
    """Why the match cannot be one composite: a result inside it is read elsewhere.

    Forbidding that also makes every match convex: all paths out of it start at its root.
    """
    inside = {n.index for n in nodes}
    for node in nodes[:-1]:
        if graph.escapes(node.index, inside):
            readers = [graph.nodes[u] for u in graph.users[node.index] if u not in inside]
            reader = f"{readers[0].op} ({readers[0].node})" if readers else "the caller"
            return Reject(f"{node.op} ({node.node}) inside it is also read by {reader}", repr(node.output))
    return None


def _refusal(target: Target, pattern: str, reject: Reject, stage: str) -> Verdict:
    reason = reject.reason if stage == "check" else f'nearest pattern "{pattern}": {reject.reason}'
    return Verdict(target.name, False, stage, reason, pattern, reject.at)


def _check(target: Target, match: Match) -> Reject | None:
    codegen = target.codegen
    try:
        answer = codegen.check(match)
    except VENDOR_FAULTS as error:
        raise CheckError(
            f'codegen "{target.name}": check raised {type(error).__name__}: {error}',
            f'at {guilty_line(error)}, for pattern "{match.pattern}" at {match.root.node or match.root.op}',
            "this is a fault of the codegen, not of the model",
        ) from error
    if answer is None or answer is True:
        return None
    if answer is False:
        return Reject(f"refused without a reason by {_where(codegen.check)}")
    if isinstance(answer, Reject):
        return answer
    raise CheckError(
        f'codegen "{target.name}": check returned {answer!r}',
        f'for pattern "{match.pattern}" at {match.root.node or match.root.op}',
        "it must return None or True to accept, reject(...) to refuse",
    )


def _where(function: Callable) -> str:
    try:
        return f"{Path(inspect.getfile(function)).name}:{inspect.getsourcelines(function)[1]}"
    except (OSError, TypeError):
        return "its check"
