"""Measured costs: keys that another import gives again, and a file that is refused when it is none."""

from __future__ import annotations

import json

import pytest

from byoc.errors import PlanError
from byoc.graph import Node, Value
from byoc.partitioner.measured import MeasuredCosts, composite_key, op_key


def relu(name: str, rows: int = 2) -> Node:
    x = Value(f"{name}_in", "float32", (rows, 3))
    node = Node(7, "nn.relu", (x,), node=name, read_attrs=lambda: {"b": 1, "a": (2,)})
    node.outputs = (Value(f"{name}_out", "float32", (rows, 3), producer=node),)
    return node


def test_a_key_tells_op_types_shapes_and_attributes_but_no_names() -> None:
    assert op_key(relu("first")) == "nn.relu(float32[2,3]) -> float32[2,3] {a=(2,), b=1}"
    assert op_key(relu("first")) == op_key(relu("second"))
    assert op_key(relu("first")) != op_key(relu("first", rows=4))


def test_costs_are_found_again_after_a_round_trip() -> None:
    node = relu("x")
    costs = MeasuredCosts({"host": {op_key(node): 0.5}, "acc": {composite_key([node, node]): 0.25}})
    again = MeasuredCosts.from_json(costs.to_json())
    assert again == costs
    assert again.on_host(node) == 0.5
    assert again.on_target("acc", [node, node]) == 0.25
    assert again.on_target("acc", [node]) is None
    assert again.on_target("other", [node]) is None


@pytest.mark.parametrize(
    "document",
    ["", "[]", "{}", '{"format_version": 2}', '{"format_version": 1}', '{"format_version": 1, "costs": {"host": 3}}']
    + [json.dumps({"format_version": 1, "costs": {"host": {"k": bad}}}) for bad in (-1, "x", None, True)],
)
def test_what_is_no_file_of_costs_is_refused_in_words(document: str) -> None:
    with pytest.raises(PlanError, match="costs") as caught:
        MeasuredCosts.from_json(document)
    assert "--save-costs" in str(caught.value)
