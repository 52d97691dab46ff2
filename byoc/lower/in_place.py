"""Which results of a partition lie in tensors that it was given: those of ops that update an argument."""

from __future__ import annotations

from byoc.graph import Graph, Value
from byoc.ops import in_place_argument


def updated_parameters(graph: Graph) -> frozenset[int]:
    """Indices of the parameters that a function updates, whether or not it returns them too."""
    place = {id(v): k for k, v in enumerate(graph.params)}
    storages = [storage_of(node.outputs[0]) for node in graph.nodes if in_place_argument(node.op) >= 0]
    return frozenset(place[id(v)] for v in storages if id(v) in place)


def storage_of(value: Value) -> Value:
    """The value in whose memory `value` lies: itself, unless an op that updates an argument in place computes it."""
    while value.producer is not None:
        argument = in_place_argument(value.producer.op)
        if argument < 0:
            break
        value = value.producer.inputs[argument]
    return value
