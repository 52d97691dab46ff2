"""A plan file whose parts contradict each other is refused when it is read."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from byoc.errors import PlanError
from byoc.partitioner.plan import Plan
from tests.unit.sample_plan import sample_plan


def _root(plan: Any) -> None:
    plan["functions"][0]["partitions"][0]["composites"][0]["root"] = 2**62


def _twice(plan: Any) -> None:
    plan["functions"].append(copy.deepcopy(plan["functions"][0]))


def _same_symbol(plan: Any) -> None:
    plan["functions"].append({**copy.deepcopy(plan["functions"][0]), "name": "other"})


def _symbol(plan: Any) -> None:
    plan["functions"][0]["partitions"][0]["symbol"] = "a;b"


def _owner(plan: Any) -> None:
    plan["functions"][0]["ops"][4]["owner"] = "acc"


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (_root, f"a composite of partition byoc_acc_0 has its root at op {2**62}"),
        (_twice, "the plan lists an entry function twice"),
        (_same_symbol, 'partition 0 of other cannot be called "byoc_acc_0"'),
        (_symbol, 'partition 0 of main cannot be called "a;b"'),
        (_owner, "op 4 (/Softmax) of main has two owners"),
    ],
)
def test_a_contradiction_is_named(damage: Callable[[Any], None], what: str) -> None:
    data = json.loads(sample_plan().to_json())
    assert Plan.from_json(json.dumps(data)) == sample_plan()
    damage(data)
    with pytest.raises(PlanError) as caught:
        Plan.from_json(json.dumps(data))
    assert caught.value.what == what
