"""A plan in which every composite is a partition of its own, for looking at composites one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from byoc.graph import Graph
from byoc.partitioner.plan import FunctionPlan, Partition, Plan, check_consistency
from byoc.partitioner.prune import boundary_of


def composites_apart(plan: Plan, graphs: Mapping[str, Graph]) -> Plan:
    """The same owners, but one partition for each composite; a match has one exit, so that each is convex."""
    functions = tuple(_apart(f, graphs[f.name], plan.settings.nominal_dim) for f in plan.functions)
    apart = replace(plan, functions=functions)
    check_consistency(apart)
    return apart


def _apart(function: FunctionPlan, graph: Graph, nominal: int) -> FunctionPlan:
    partitions: list[Partition] = []
    for part in function.partitions:
        for number, composite in enumerate(sorted(part.composites, key=lambda c: c.root)):
            ops = tuple(sorted(composite.ops))
            edge = boundary_of(graph, ops, nominal)
            symbol = f"{part.symbol}_c{number}"
            partitions.append(
                Partition(len(partitions), part.target, symbol, ops, (composite,), edge.bytes_in, edge.bytes_out)
            )
    owner = {i: p.index for p in partitions for i in p.ops}
    ops_after = tuple(replace(op, partition=owner.get(op.index, -1)) for op in function.ops)
    return replace(function, ops=ops_after, partitions=tuple(partitions))
