"""What crosses the boundary of a set of ops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from byoc.graph import Graph, Value
from byoc.partitioner.work import value_bytes


@dataclass(frozen=True)
class Boundary:
    """What crosses a partition's boundary: values in (weights not counted), values out, and their bytes."""

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    bytes_in: int
    bytes_out: int


def boundary_of(graph: Graph, ops: Sequence[int], nominal: int) -> Boundary:
    """The boundary of a set of ops; symbolic dimensions count as `nominal`."""
    inside = set(ops)
    inputs: dict[int, Value] = {}
    outputs: dict[int, Value] = {}
    for i in ops:
        for value in graph.nodes[i].inputs:
            if not value.is_constant and (value.producer is None or value.producer.index not in inside):
                inputs.setdefault(id(value), value)
        if graph.escapes(i, inside):
            for value in graph.nodes[i].outputs:
                outputs[id(value)] = value
    return Boundary(
        tuple(inputs.values()),
        tuple(outputs.values()),
        sum(value_bytes(v, nominal) for v in inputs.values()),
        sum(value_bytes(v, nominal) for v in outputs.values()),
    )
