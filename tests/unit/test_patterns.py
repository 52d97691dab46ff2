"""Patterns capture what they name, and say what stopped them."""

from __future__ import annotations

import pytest

from byoc.codegen import reject
from byoc.errors import CheckError, PinError
from byoc.partitioner.match import find_matches
from byoc.partitioner.plan import Settings, Verdict
from byoc.partitioner.planner import plan_functions
from byoc.patterns import Mismatch, as_pattern, const, match_at, op, optional
from tests.unit.dags import graph_from, target


def test_captures_are_the_values_that_were_named() -> None:
    graph = graph_from([("matmul", [-1, -1]), ("relu", [0])])
    found = match_at(op("relu")(op("matmul")("x", "w").named("product")), graph.nodes[1])
    assert found is not None
    captures, nodes = found
    assert (captures["x"].name, captures["w"].name, captures["product"].name) == ("x", "x", "v0")
    assert [n.index for n in nodes] == [0, 1]


def test_inputs_of_a_commutative_op_match_in_either_order() -> None:
    graph = graph_from([("exp", [-1]), ("add", [-1, 0]), ("add", [0, -1])])
    pattern = op("add")(op("exp")("x"), "y")
    assert match_at(pattern, graph.nodes[1]) is not None
    assert match_at(pattern, graph.nodes[2]) is not None


def test_inputs_of_an_op_that_does_not_commute_match_in_order_only() -> None:
    graph = graph_from([("exp", [-1]), ("subtract", [-1, 0])])
    assert match_at(op("subtract")(op("exp")("x"), "y"), graph.nodes[1]) is None


def test_one_name_stands_for_one_value() -> None:
    graph = graph_from([("exp", [-1]), ("multiply", [0, 0]), ("multiply", [0, -1])])
    square = op("multiply")("x", "x")
    assert match_at(square, graph.nodes[1]) is not None
    assert match_at(square, graph.nodes[2]) is None


def test_the_longer_form_of_an_optional_pattern_is_preferred() -> None:
    graph = graph_from([("matmul", [-1, -1]), ("relu", [0])])
    pattern = optional("relu", op("matmul")("x", "w"))
    chosen = find_matches(graph, target("t", {"p": pattern})).select(lambda _: True)
    assert [c.ops for c in chosen] == [(0, 1)] or [c.ops for c in chosen] == [(0,)]
    found = match_at(pattern, graph.nodes[1])
    assert found is not None and [n.index for n in found[1]] == [0, 1]


def test_a_mismatch_names_what_is_missing_and_where() -> None:
    graph = graph_from([("exp", [-1]), ("relu", [0])])
    miss = Mismatch()
    assert match_at(op("relu")(op("matmul")("x", "w")), graph.nodes[1], miss) is None
    assert miss.reason == "needs matmul where exp (/n0) is"


def test_a_constant_is_required_where_the_pattern_says_so() -> None:
    graph = graph_from([("matmul", [-1, -1])])
    miss = Mismatch()
    assert match_at(op("matmul")("x", const("w")), graph.nodes[0], miss) is None
    assert miss.reason == "needs a constant where the input x is"


def test_something_that_is_no_pattern_is_refused() -> None:
    with pytest.raises(TypeError, match="a pattern is made of op"):
        as_pattern(3)


def verdict_of(ops: list, index: int, the_target: object, **settings: object) -> Verdict:
    (function,) = plan_functions([graph_from(ops)], [the_target], Settings(**settings))  # type: ignore[list-item,arg-type]
    return function.ops[index].verdicts[0]


def test_the_nearest_miss_is_the_verdict_of_an_op_that_matched_nothing() -> None:
    dense = target("acc", {"dense_relu": op("relu")(op("matmul")("x", "w"))})
    ops = [("matmul", [-1, -1]), ("exp", [0]), ("relu", [1])]
    assert verdict_of(ops, 2, dense).reason == 'nearest pattern "dense_relu": needs matmul where exp (/n1) is'
    assert verdict_of(ops, 0, dense).reason == 'nearest pattern "dense_relu": needs relu after it, where exp reads it'
    assert verdict_of(ops, 1, dense).reason == "no pattern of acc has the op exp"
    assert verdict_of(ops, 1, dense).stage == "match"


def test_a_refusal_by_check_is_reported_in_the_codegens_own_words() -> None:
    picky = target("acc", ["relu"], check=lambda m: reject("takes float16 only", at=m.out))
    verdict = verdict_of([("relu", [-1])], 0, picky)
    assert (verdict.stage, verdict.reason, verdict.at) == ("check", "takes float16 only", "v0: float32[4,8]")


def test_a_bare_false_is_reported_with_the_line_that_returned_it() -> None:
    verdict = verdict_of([("relu", [-1])], 0, target("acc", ["relu"], check=lambda m: False))
    assert verdict.reason.startswith("refused without a reason by dags.py:")


def test_a_check_that_raises_is_named_with_its_line() -> None:
    with pytest.raises(CheckError, match='codegen "acc": check raised ZeroDivisionError'):
        verdict_of([("relu", [-1])], 0, target("acc", ["relu"], check=lambda m: 1 // 0))


def test_a_check_that_returns_nonsense_is_named() -> None:
    with pytest.raises(CheckError, match="check returned 'yes'"):
        verdict_of([("relu", [-1])], 0, target("acc", ["relu"], check=lambda m: "yes"))


def test_the_reason_of_a_small_partition_is_prune() -> None:
    verdict = verdict_of([("relu", [-1]), ("exp", [0])], 0, target("acc", ["relu"]), min_ops=2)
    assert (verdict.stage, verdict.reason) == ("prune", "its partition would have 1 op, fewer than min_ops=2")


def test_a_partition_that_a_cycle_keeps_small_says_so() -> None:
    ops = [("relu", [-1]), ("exp", [0]), ("add", [0, 1])]
    verdict = verdict_of(ops, 2, target("acc", ["relu", "add"]), min_ops=2)
    assert verdict.stage == "merge"
    assert verdict.reason.endswith("joining the one with relu (/n0) would make a cycle through the host")


def test_pins_are_hard() -> None:
    ops = [("relu", [-1]), ("exp", [0])]
    verdict = verdict_of(ops, 0, target("acc", ["relu"]), pins=("/n0=host",))
    assert (verdict.stage, verdict.reason) == ("pin", "pinned to host")
    with pytest.raises(PinError, match="/n1 cannot be pinned to acc"):
        verdict_of(ops, 1, target("acc", ["relu"]), pins=("/n1=acc",))
    with pytest.raises(PinError, match='did you mean "/n1"'):
        verdict_of(ops, 1, target("acc", ["relu"]), pins=("/n11=host",))
    with pytest.raises(PinError, match='names the owner "acd"'):
        verdict_of(ops, 1, target("acc", ["relu"]), pins=("/n1=acd",))


def test_the_cost_policy_leaves_on_the_host_what_is_cheaper_there() -> None:
    slow = target("acc", ["relu"], cost=lambda m: 1.0)
    verdict = verdict_of([("relu", [-1])], 0, slow, policy="cost")
    assert (verdict.stage, verdict.reason) == ("cost", "estimated to be faster on the host, transfers included")
    assert verdict_of([("relu", [-1])], 0, target("acc", ["relu"], cost=lambda m: 0.0), policy="cost").accepted
