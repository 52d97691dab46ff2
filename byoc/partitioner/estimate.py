"""How long a whole cut takes by the cost model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from byoc.codegen import Match, Peaks
from byoc.graph import Graph
from byoc.partitioner.assign import Assignment
from byoc.partitioner.boundary import boundary_of
from byoc.partitioner.cost import CostModel
from byoc.partitioner.match import find_matches
from byoc.partitioner.merge import Group, Merged
from byoc.partitioner.plan import FunctionPlan
from byoc.partitioner.target import Target

_HOST = -1  # the part of the host's ops


@dataclass(frozen=True)
class Part:
    """A partition, as far as its time goes."""

    target: Target
    ops: tuple[int, ...]
    matches: tuple[Match, ...]


def parts_of(assignment: Assignment, merged: Merged, targets: Mapping[str, Target]) -> tuple[Part, ...]:
    """The partitions of a cut that is being made."""
    composites = assignment.composites
    return tuple(
        Part(targets[group.owner], group.ops, tuple(composites[k][1].match for k in group.composites))
        for group in merged.groups
    )


def parts_of_plan(graph: Graph, function: FunctionPlan, targets: Mapping[str, Target]) -> tuple[Part, ...]:
    """The partitions of a plan.  Raises :class:`CheckError` as matching does."""
    matches = {
        (name, c.match.pattern, c.ops): c.match
        for name in dict.fromkeys(part.target for part in function.partitions)
        for c in find_matches(graph, targets[name]).candidates
    }
    return tuple(
        Part(targets[p.target], p.ops, tuple(matches[p.target, c.pattern, c.ops] for c in p.composites))
        for p in function.partitions
    )


def seconds_of_cut(graph: Graph, parts: Sequence[Part], model: CostModel) -> float:
    """Seconds of one run: every op on its owner, a call of each partition, and every value on its way to its readers.

    A value goes once into each partition that reads it; between an owner and the caller only the owner's link counts.
    """
    owned = {i for part in parts for i in part.ops}
    on_targets = sum(model.on_target(part.target, match) for part in parts for match in part.matches)
    on_host = sum(model.on_host(node) for node in graph.nodes if node.index not in owned)
    calls = sum(part.target.codegen.peaks.call_overhead for part in parts)
    return on_targets + on_host + calls + _between(graph, parts, model)


def _between(graph: Graph, parts: Sequence[Part], model: CostModel) -> float:
    """Seconds in which values go from part to part, and to and from the caller, and threads change."""
    part_of = {i: number for number, part in enumerate(parts) for i in part.ops}
    peaks: dict[int, Peaks] = {number: part.target.codegen.peaks for number, part in enumerate(parts)}
    peaks[_HOST] = model.host
    seconds = 0.0
    crossed: set[tuple[int, int]] = set()
    switches: dict[tuple[int, int], float] = {}
    for node in graph.nodes:
        reader = part_of.get(node.index, _HOST)
        for value in node.inputs:
            maker = None if value.producer is None else part_of.get(value.producer.index, _HOST)
            if value.is_constant or maker == reader:
                continue
            if (id(value), reader) not in crossed:
                crossed.add((id(value), reader))
                seconds += model.transfer(value, peaks[reader], peaks[reader if maker is None else maker])
            if value.producer is not None and maker is not None:
                work = min(model.on_host(value.producer), model.on_host(node))
                switch = model.switch(peaks[maker], peaks[reader], work)
                switches[maker, reader] = max(switch, switches.get((maker, reader), 0.0))
        if node.index in graph.results:
            seconds += sum(model.transfer(value, peaks[reader], peaks[reader]) for value in node.outputs)
    return seconds + sum(switches.values())


def saving_of(graph: Graph, group: Group, assignment: Assignment, target: Target, model: CostModel) -> float:
    """Seconds that a partition saves over the host by the cost model; negative where it loses."""
    on_host = sum(model.on_host(graph.nodes[i]) for i in group.ops)
    on_target = sum(model.on_target(target, assignment.composites[c][1].match) for c in group.composites)
    return on_host - on_target - edge_seconds(graph, group.ops, target.codegen.peaks, model)


def edge_seconds(graph: Graph, ops: Sequence[int], peaks: Peaks, model: CostModel) -> float:
    """Seconds of a partition's call, and of what crosses its boundary."""
    boundary = boundary_of(graph, ops, model.nominal_dim)
    moving = sum(model.transfer(value, peaks, peaks) for value in (*boundary.inputs, *boundary.outputs))
    return peaks.call_overhead + moving
