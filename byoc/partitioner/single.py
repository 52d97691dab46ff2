"""Cut the partitions of a plan into smaller ones, for looking at composites one by one or a few together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from byoc.graph import Graph
from byoc.partitioner.boundary import boundary_of
from byoc.partitioner.consistency import check_consistency
from byoc.partitioner.plan import Composite, FunctionPlan, Partition, Plan

Pieces = Mapping[str, Sequence[Sequence[Composite]]]


def composites_apart(plan: Plan, graphs: Mapping[str, Graph]) -> Plan:
    """The same owners, but one partition for each composite; a match has one exit, so that each is convex."""
    parts = [part for function in plan.functions for part in function.partitions]
    return cut(plan, graphs, {p.symbol: [(c,) for c in sorted(p.composites, key=lambda c: c.root)] for p in parts})


def cut(plan: Plan, graphs: Mapping[str, Graph], pieces: Pieces) -> Plan:
    """The plan with the partitions named in `pieces` replaced by one for each group of their composites.

    The k-th piece of partition ``s`` has the symbol ``s_ck``.  Each group must be convex.
    """
    functions = tuple(_cut(f, graphs[f.name], plan.settings.nominal_dim, pieces) for f in plan.functions)
    result = replace(plan, functions=functions)
    check_consistency(result)
    return result


def _cut(function: FunctionPlan, graph: Graph, nominal: int, pieces: Pieces) -> FunctionPlan:
    partitions: list[Partition] = []
    for part in function.partitions:
        if part.symbol not in pieces:
            partitions.append(replace(part, index=len(partitions)))
            continue
        for number, composites in enumerate(pieces[part.symbol]):
            ops = tuple(sorted(i for c in composites for i in c.ops))
            edge = boundary_of(graph, ops, nominal)
            symbol, index = f"{part.symbol}_c{number}", len(partitions)
            partitions.append(
                Partition(index, part.target, symbol, ops, tuple(composites), edge.bytes_in, edge.bytes_out)
            )
    owner = {i: p.index for p in partitions for i in p.ops}
    ops_after = tuple(replace(op, partition=owner.get(op.index, -1)) for op in function.ops)
    return replace(function, ops=ops_after, partitions=tuple(partitions))
