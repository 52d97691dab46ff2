"""Make a plan: match, check, assign, merge, prune, and a verdict for every op."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from byoc.errors import PinError
from byoc.graph import Graph, Value
from byoc.partitioner.assign import Assignment, Constraints, assign_by_cost, assign_by_priority
from byoc.partitioner.boundary import boundary_of
from byoc.partitioner.cost import CostModel
from byoc.partitioner.estimate import parts_of, seconds_of_cut
from byoc.partitioner.match import TargetMatches, find_matches
from byoc.partitioner.merge import Merged, merge
from byoc.partitioner.near_miss import nearest_miss
from byoc.partitioner.pins import resolve_pins
from byoc.partitioner.plan import HOST, Composite, FunctionPlan, Partition, PlannedOp, Settings, Verdict
from byoc.partitioner.prune import Planned, prune
from byoc.partitioner.target import Target
from byoc.partitioner.work import bytes_of, flops_of

Progress = Callable[[str, int, int], None]
Dropped = dict[tuple[int, str], Verdict]


def plan_functions(
    graphs: Sequence[Graph],
    targets: Sequence[Target],
    settings: Settings,
    *,
    model: CostModel | None = None,
    refused: Mapping[str, Dropped] | None = None,
    progress: Progress | None = None,
) -> tuple[FunctionPlan, ...]:
    """Plan every entry function.

    Parameters
    ----------
    refused: by function name, (op, target) pairs that are out from the start, such as those that `emit` refused.

    Raises :class:`PinError`, :class:`CheckError`.
    """
    model = model or CostModel(settings.nominal_dim)
    report = progress or (lambda *_: None)
    pins = resolve_pins(settings.pins, graphs, [t.name for t in targets])
    matches: list[list[TargetMatches]] = []
    for done, graph in enumerate(graphs):
        report("match", done, len(graphs))
        matches.append([find_matches(graph, t) for t in targets])
        _check_pins(graph, targets, matches[-1], pins[done])
    dropped: list[Dropped] = [dict((refused or {}).get(g.name, {})) for g in graphs]
    by_name = {t.name: t for t in targets}
    while True:
        planned = [
            _assign(graph, found, pins[f], dropped[f], settings, model)
            for f, (graph, found) in enumerate(zip(graphs, matches, strict=True))
        ]
        more = prune(planned, by_name, settings, model)
        if not any(more):
            break
        for f, out in enumerate(more):
            dropped[f].update(out)
    return tuple(
        _FunctionPlanner(p, found, dropped[f], settings).build()
        for f, (p, found) in enumerate(zip(planned, matches, strict=True))
    )


def _assign(
    graph: Graph,
    found: Sequence[TargetMatches],
    pins: Mapping[int, str],
    dropped: Dropped,
    settings: Settings,
    model: CostModel,
) -> Planned:
    constraints = Constraints(pins, frozenset(dropped))
    if settings.policy == "cost":
        assignment, merged = _cheapest(graph, found, constraints, model)
    else:
        assignment = assign_by_priority(found, constraints)
        merged = merge(graph, assignment)
    for i, owner in pins.items():
        if owner != HOST and assignment.owners.get(i) != owner and (i, owner) not in dropped:
            raise PinError(
                f"{graph.nodes[i].node or graph.nodes[i].op} cannot be pinned to {owner}",
                f"{owner} takes it only together with ops that other pins keep away",
            )
    return Planned(graph, assignment, merged, constraints)


def _cheapest(
    graph: Graph, found: Sequence[TargetMatches], constraints: Constraints, model: CostModel
) -> tuple[Assignment, Merged]:
    """The least cut, or a priority of one of the targets where the whole cut is estimated to be quicker by that.

    The minimum cut sees edges, not partitions: it pays for calls by the edge, and not for those that a cycle adds.
    """
    targets = {m.target.name: m.target for m in found}
    candidates = [assign_by_cost(graph, found, constraints, model)]
    for first in found:
        order = assign_by_priority([first, *(m for m in found if m is not first)], constraints)
        if all(order.owners != other.owners for other in candidates):
            candidates.append(order)
    cuts = [(assignment, merge(graph, assignment)) for assignment in candidates]
    if len(cuts) == 1:
        return cuts[0]
    return min(cuts, key=lambda cut: seconds_of_cut(graph, parts_of(cut[0], cut[1], targets), model))


def _check_pins(
    graph: Graph, targets: Sequence[Target], found: Sequence[TargetMatches], pins: Mapping[int, str]
) -> None:
    able = {m.target.name: {i for c in m.candidates for i in c.ops} for m in found}
    by_name = dict(zip((t.name for t in targets), zip(targets, found, strict=True), strict=True))
    for i, owner in pins.items():
        if owner != HOST and i not in able[owner]:
            node = graph.nodes[i]
            target, matches = by_name[owner]
            verdict = matches.refused.get(i) or nearest_miss(graph, node, target)
            raise PinError(f"{node.node or node.op} cannot be pinned to {owner}", verdict.reason)


@dataclass
class _FunctionPlanner:
    """Turns the outcome of the partitioner into the frozen plan of one function."""

    planned: Planned
    matches: Sequence[TargetMatches]
    dropped: Dropped
    settings: Settings

    def build(self) -> FunctionPlan:
        graph = self.planned.graph
        partitions = self._partitions(self.planned.merged, self.planned.assignment)
        partition_of = {i: p.index for p in partitions for i in p.ops}
        ops = []
        for node in graph.nodes:
            value = node.output
            ops.append(
                PlannedOp(
                    index=node.index,
                    op=node.op,
                    node=node.node,
                    op_type=node.op_type,
                    owner=self.planned.assignment.owners.get(node.index, HOST),
                    partition=partition_of.get(node.index, -1),
                    flops=flops_of(node, self.settings.nominal_dim),
                    bytes=bytes_of(node, self.settings.nominal_dim),
                    shape=plain_shape(value),
                    dtype=value.dtype,
                    producers=tuple(sorted(graph.producers(node.index))),
                    verdicts=tuple(self._verdict(node.index, found) for found in self.matches),
                    note=node.note,
                )
            )
        return FunctionPlan(graph.name, tuple(ops), partitions)

    def _partitions(self, merged: Merged, assignment: Assignment) -> tuple[Partition, ...]:
        partitions = []
        graph = self.planned.graph
        for index, group in enumerate(merged.groups):
            boundary = boundary_of(graph, group.ops, self.settings.nominal_dim)
            composites = tuple(
                Composite(c.match.pattern, c.ops, c.root)
                for _, c in (assignment.composites[k] for k in group.composites)
            )
            symbol = re.sub(r"\W", "_", f"{group.owner}_{graph.name}_{index}")
            partitions.append(
                Partition(index, group.owner, symbol, group.ops, composites, boundary.bytes_in, boundary.bytes_out)
            )
        return tuple(partitions)

    def _verdict(self, op: int, found: TargetMatches) -> Verdict:
        name = found.target.name
        owner = self.planned.assignment.owners.get(op, HOST)
        if owner == name:
            return Verdict(name, True, pattern=self._patterns[op])
        dropped = self.dropped.get((op, name))
        if dropped is not None:
            return dropped
        pin = self.planned.constraints.pins.get(op)
        if pin is not None and pin != name:
            return Verdict(name, False, "pin", f"pinned to {pin}")
        candidate = self._able(found).get(op)
        if candidate is None:
            return found.refused.get(op) or nearest_miss(self.planned.graph, self.planned.graph.nodes[op], found.target)
        if owner != HOST and self.settings.policy == "priority":
            return Verdict(name, False, "claimed", f"{owner} comes first and takes it", candidate)
        if self.settings.policy == "cost":
            where = "on the host" if owner == HOST else f"on {owner}"
            return Verdict(name, False, "cost", f"estimated to be faster {where}, transfers included", candidate)
        return self._overlap(op, found, candidate)

    def _overlap(self, op: int, found: TargetMatches, candidate: str) -> Verdict:
        """The op is only taken together with others, and one of those is not to be had."""
        owners = self.planned.assignment.owners
        for c in found.candidates:
            if op not in c.ops:
                continue
            for i in c.ops:
                node = self.planned.graph.nodes[i]
                pin = self.planned.constraints.pins.get(i)
                if pin is not None and pin != found.target.name:
                    return Verdict(
                        found.target.name,
                        False,
                        "pin",
                        f"{node.node or node.op} beside it is pinned to {pin}",
                        candidate,
                    )
                if i in owners:
                    reason = f"{node.node or node.op} beside it belongs to {owners[i]} ({self._patterns[i]})"
                    return Verdict(found.target.name, False, "claimed", reason, candidate)
        return Verdict(found.target.name, False, "prune", "an op beside it went back to the host", candidate)

    @property
    def _patterns(self) -> dict[int, str]:
        cached = self.__dict__.get("_patterns_cache")
        if cached is None:
            cached = {i: c.match.pattern for _, c in self.planned.assignment.composites for i in c.ops}
            self.__dict__["_patterns_cache"] = cached
        return cached

    def _able(self, found: TargetMatches) -> dict[int, str]:
        caches = self.__dict__.setdefault("_able_cache", {})
        if found.target.name not in caches:
            able: dict[int, str] = {}
            for c in found.candidates:
                for i in c.ops:
                    able.setdefault(i, c.match.pattern)
            caches[found.target.name] = able
        return caches[found.target.name]


def plain_shape(value: Value) -> tuple[int | str, ...] | None:
    """A shape as the plan stores it."""
    return None if value.shape is None else tuple(d if isinstance(d, int) else str(d) for d in value.shape)


def fingerprint(graphs: Sequence[Graph]) -> str:
    """SHA-256 over the structure of the graphs: ops, attributes, shapes, edges; not the weights' values."""
    digest = hashlib.sha256()
    for graph in graphs:
        digest.update(f"function {graph.name} {[(p.dtype, plain_shape(p)) for p in graph.params]}\n".encode())
        for node in graph.nodes:
            inputs = [
                (v.producer.index, v.index) if v.producer else (v.dtype, plain_shape(v), v.is_constant)
                for v in node.inputs
            ]
            outputs = [(v.dtype, plain_shape(v)) for v in node.outputs]
            attrs = sorted((k, str(v)) for k, v in node.attrs.items())
            digest.update(f"{node.op} {node.node} {inputs} {outputs} {attrs}\n".encode())
        digest.update(f"results {sorted(graph.results)}\n".encode())
    return digest.hexdigest()
