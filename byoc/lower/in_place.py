"""Which results of a partition lie in tensors that it was given: those of ops that update an argument."""

from __future__ import annotations

from byoc.graph import Value
from byoc.ops import in_place_argument


def storage_of(value: Value) -> Value:
    """The value in whose memory `value` lies: itself, unless an op that updates an argument in place computes it."""
    while value.producer is not None:
        argument = in_place_argument(value.producer.op)
        if argument < 0:
            break
        value = value.producer.inputs[argument]
    return value
