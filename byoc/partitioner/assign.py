"""Give every op an owner: by priority, or by least estimated cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from byoc.codegen import Peaks
from byoc.graph import Graph, Node, Value
from byoc.partitioner.cost import CostModel
from byoc.partitioner.match import Candidate, TargetMatches
from byoc.partitioner.min_cut import FORBIDDEN, Edge, label


@dataclass(frozen=True)
class Constraints:
    """Who may not own what: `pins` give the only owner of an op, `forbidden` lists (op, target) pairs."""

    pins: Mapping[int, str]
    forbidden: frozenset[tuple[int, str]] = frozenset()

    def allows(self, op: int, owner: str) -> bool:
        """Whether the op may belong to the owner."""
        return self.pins.get(op, owner) == owner and (op, owner) not in self.forbidden


@dataclass(frozen=True)
class Assignment:
    """The composites chosen, each with its target; ops in none are the host's."""

    composites: tuple[tuple[str, Candidate], ...]
    owners: Mapping[int, str]


def _assignment(chosen: Sequence[tuple[str, Candidate]]) -> Assignment:
    ordered = tuple(sorted(chosen, key=lambda pair: pair[1].root))
    return Assignment(ordered, {i: target for target, c in ordered for i in c.ops})


def assign_by_priority(matches: Sequence[TargetMatches], constraints: Constraints) -> Assignment:
    """Targets choose in the order given; a later one sees only the ops that are left."""
    claimed: set[int] = set()
    chosen: list[tuple[str, Candidate]] = []
    for found in matches:
        name = found.target.name
        picks = found.select(lambda i, n=name: i not in claimed and constraints.allows(i, n))  # type: ignore[misc]
        chosen += [(name, c) for c in picks]
        claimed.update(i for c in picks for i in c.ops)
    return _assignment(chosen)


def assign_by_cost(
    graph: Graph, matches: Sequence[TargetMatches], constraints: Constraints, model: CostModel
) -> Assignment:
    """The labelling of least cost: op times, plus transfers wherever owners differ.

    A composite's ops belong to its target together or not at all.
    """
    names = ["host", *(m.target.name for m in matches)]
    peaks = [model.host, *(m.target.codegen.peaks for m in matches)]
    outside = [_outside(graph, node) for node in graph.nodes]

    def edge_of(op: int, owner: Peaks) -> float:
        return sum(model.transfer(value, owner, owner) for value in outside[op])

    on_host = [model.on_host(node) for node in graph.nodes]
    costs = [
        [seconds + edge_of(i, model.host)] if constraints.allows(i, "host") else [FORBIDDEN]
        for i, seconds in enumerate(on_host)
    ]
    picked: list[list[Candidate]] = []
    edges = _transfers(graph, peaks, model, on_host)
    for number, found in enumerate(matches, start=1):
        name = found.target.name
        picks = found.select(lambda i, n=name: constraints.allows(i, n))  # type: ignore[misc]
        picked.append(picks)
        for row in costs:
            row.append(FORBIDDEN)
        for candidate in picks:
            seconds = model.on_target(found.target, candidate.match)
            for i in candidate.ops:
                costs[i][number] = seconds / len(candidate.ops) + edge_of(i, peaks[number])
            edges += _ties(candidate, number)
    start = _start(graph, matches, constraints, names)
    labels = label(costs, edges, start) if matches else [0] * len(graph.nodes)
    chosen = [
        (names[number], c)
        for number, picks in enumerate(picked, start=1)
        for c in picks
        if all(labels[i] == number for i in c.ops)
    ]
    return _assignment(chosen)


def _start(graph: Graph, matches: Sequence[TargetMatches], constraints: Constraints, names: Sequence[str]) -> list[int]:
    """All on the host, but for the composites that pins force onto a target."""
    labels = [0] * len(graph.nodes)
    for number, found in enumerate(matches, start=1):
        for candidate in found.select(lambda i, n=names[number]: constraints.allows(i, n)):  # type: ignore[misc]
            if any(constraints.pins.get(i) == names[number] for i in candidate.ops):
                for i in candidate.ops:
                    labels[i] = number
    return labels


def _outside(graph: Graph, node: Node) -> list[Value]:
    """What an op has from the caller, and the caller from it."""
    given = [v for v in node.inputs if v.producer is None and not v.is_constant]
    return [*given, *node.outputs] if node.index in graph.results else given


def _transfers(graph: Graph, peaks: Sequence[Peaks], model: CostModel, work: Sequence[float]) -> list[Edge]:
    edges = []
    for node in graph.nodes:
        for value in node.inputs:
            if value.producer is not None:
                maker = value.producer.index
                handover = _Handover(peaks, model, value, min(work[maker], work[node.index]))
                edges.append(Edge(maker, node.index, handover))
    return edges


@dataclass(frozen=True, slots=True)
class _Handover:
    """Seconds between two ops by their owners: the value, a change of threads, and half the overhead of a call."""

    peaks: Sequence[Peaks]
    model: CostModel
    value: Value
    work: float

    def __call__(self, a: int, b: int) -> float:
        if a == b:
            return 0.0
        one, other = self.peaks[a], self.peaks[b]
        call = max(one.call_overhead, other.call_overhead) / 2
        return self.model.transfer(self.value, one, other) + self.model.switch(one, other, self.work) + call


def _ties(candidate: Candidate, number: int) -> list[Edge]:
    def cost(a: int, b: int) -> float:
        return FORBIDDEN if (a == number) != (b == number) else 0.0

    return [Edge(a, b, cost) for a, b in zip(candidate.ops, candidate.ops[1:], strict=False)]
