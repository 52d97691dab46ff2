"""How long a whole cut takes by the cost model."""

from __future__ import annotations

from collections.abc import Mapping

from byoc.codegen import Peaks
from byoc.graph import Graph, Value
from byoc.partitioner.assign import Assignment
from byoc.partitioner.boundary import boundary_of
from byoc.partitioner.cost import CostModel
from byoc.partitioner.merge import Group, Merged
from byoc.partitioner.target import Target
from byoc.partitioner.work import value_bytes

_HOST = -1  # the group of the host's ops


def seconds_of_cut(
    graph: Graph, assignment: Assignment, merged: Merged, targets: Mapping[str, Target], model: CostModel
) -> float:
    """Seconds of one run: every op on its owner, a call of each partition, and every value on its way to its readers.

    A value goes once into each partition that reads it; between an owner and the caller only the owner's link counts.
    """
    composites = sum(model.on_target(targets[name], c.match) for name, c in assignment.composites)
    on_host = sum(model.on_host(node) for node in graph.nodes if node.index not in assignment.owners)
    calls = sum(targets[group.owner].codegen.peaks.call_overhead for group in merged.groups)
    return composites + on_host + calls + _moving(graph, merged, targets, model)


def _moving(graph: Graph, merged: Merged, targets: Mapping[str, Target], model: CostModel) -> float:
    """Seconds in which values go from group to group, and to and from the caller."""
    group_of = {i: g for g, group in enumerate(merged.groups) for i in group.ops}
    peaks: dict[int, Peaks] = {g: targets[group.owner].codegen.peaks for g, group in enumerate(merged.groups)}
    peaks[_HOST] = model.host
    seconds = 0.0
    crossed: set[tuple[int, int]] = set()
    for node in graph.nodes:
        reader = group_of.get(node.index, _HOST)
        for value in node.inputs:
            maker = None if value.producer is None else group_of.get(value.producer.index, _HOST)
            if value.is_constant or maker == reader or (id(value), reader) in crossed:
                continue
            crossed.add((id(value), reader))
            seconds += _link_seconds(value, peaks[reader], None if maker is None else peaks[maker], model)
        if node.index in graph.results:
            seconds += sum(_link_seconds(value, peaks[reader], None, model) for value in node.outputs)
    return seconds


def _link_seconds(value: Value, one: Peaks, other: Peaks | None, model: CostModel) -> float:
    bandwidth = one.link_bandwidth if other is None else min(one.link_bandwidth, other.link_bandwidth)
    return value_bytes(value, model.nominal_dim) / bandwidth


def saving_of(graph: Graph, group: Group, assignment: Assignment, target: Target, model: CostModel) -> float:
    """Seconds that a partition saves over the host by the cost model; negative where it loses."""
    on_host = sum(model.on_host(graph.nodes[i]) for i in group.ops)
    on_target = sum(model.on_target(target, assignment.composites[c][1].match) for c in group.composites)
    boundary = boundary_of(graph, group.ops, model.nominal_dim)
    peaks = target.codegen.peaks
    moved = (boundary.bytes_in + boundary.bytes_out) / peaks.link_bandwidth
    return on_host - on_target - moved - peaks.call_overhead
