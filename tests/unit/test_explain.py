"""The explanation of a plan: rows, text, JSON."""

from __future__ import annotations

import dataclasses

import pytest

from byoc.errors import UsageError
from byoc.explain import (
    explain_json,
    explain_node_json,
    explain_node_text,
    explain_text,
    host_reasons,
    host_text,
    partition_rows,
    shares,
)
from byoc.partitioner.plan import FunctionPlan, Plan, Verdict
from tests.unit.sample_plan import planned, sample_plan


def test_coverage_counts_ops_and_flops_of_each_owner_with_the_host_last() -> None:
    acc, host = shares(sample_plan())
    assert (acc.owner, acc.ops, acc.flops, acc.partitions) == ("acc", 2, 8100, 1)
    assert (host.owner, host.ops, host.flops, host.partitions) == ("host", 3, 1900, 0)
    assert acc.ops_share + host.ops_share == 1.0 and acc.flops_share == 0.81


def test_host_reasons_are_grouped_verbatim_and_ranked_by_lost_work() -> None:
    softmax, power = host_reasons(sample_plan())
    assert (softmax.stage, softmax.flops, softmax.first_node) == ("match", 1000, "/Softmax")
    assert (power.reason, power.ops, power.flops) == ("takes exponent 2 only", 2, 900)
    assert power.op_types == (("Pow", 2),) and power.first_node == "/norm/Pow"


def test_a_host_op_has_a_row_for_each_target_that_refused_it() -> None:
    verdicts = (Verdict("a", False, "check", "no"), Verdict("b", False, "prune", "too small"))
    op = dataclasses.replace(planned(0, "add", "/Add", "Add", 1, verdicts[0]), verdicts=verdicts)
    plan = dataclasses.replace(sample_plan(), functions=(FunctionPlan("main", (op,), ()),))
    assert [(row.target, row.stage) for row in host_reasons(plan)] == [("a", "check"), ("b", "prune")]


def test_a_partition_row_has_its_composites_work_and_boundary_bytes() -> None:
    (row,) = partition_rows(sample_plan())
    assert row.composites == (("dense_relu", 1),)
    assert (row.ops, row.flops, row.bytes_in, row.bytes_out, row.first_node) == (2, 8100, 4096, 2048, "/fc/MatMul")


def test_the_text_is_this() -> None:
    assert (
        explain_text(sample_plan())
        == """\
Coverage
owner  ops  of ops      FLOPs  of FLOPs  partitions
-----  ---  ------  ---------  --------  ----------
acc      2     40%  8.1 kFLOP       81%           1
host     3     60%  1.9 kFLOP       19%

Partitions
#  target  ops      FLOPs     in    out  first node  composites
-  ------  ---  ---------  -----  -----  ----------  ----------
0  acc       2  8.1 kFLOP  4 KiB  2 KiB  /fc/MatMul  dense_relu

Why on the host
ops     FLOPs  stage  target  types    first node  reason
---  --------  -----  ------  -------  ----------  -------------------------------------
  1   1 kFLOP  match  acc     Softmax  /Softmax    no pattern has nn.softmax at its root
  2  900 FLOP  check  acc     Pow x2   /norm/Pow   takes exponent 2 only

acc 2/5 ops (81% of FLOPs) in 1 partition; host 3 - "byoc explain" says why"""
    )


def test_one_host_op_is_told_with_the_refusal_and_the_value_at_fault() -> None:
    assert (
        explain_node_text(sample_plan(), "/norm/Pow")
        == """\
/norm/Pow (Pow)
  op      power -> float32[1, n]  (300 FLOP, 64 B)
  owner   host
  acc: refused at stage check, nearest pattern "square"
    why: takes exponent 2 only
    at:  exponent: float32[1]"""
    )


def test_one_offloaded_op_is_told_with_its_partition_and_fellow_ops() -> None:
    assert (
        explain_node_text(sample_plan(), "/fc/Relu")
        == """\
/fc/Relu (Relu)
  op      nn.relu -> float32[1, n]  (100 FLOP, 64 B)
  owner   acc, partition 0 (byoc_acc_0, 2 ops), composite "dense_relu" with /fc/MatMul
  acc: accepted by pattern "dense_relu\""""
    )


def test_an_unknown_node_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match='did you mean "/norm/Pow"') as caught:
        explain_node_text(sample_plan(), "/norm/pow")
    assert caught.value.what == 'no op of the plan stems from a node "/norm/pow"'


def test_a_node_without_a_name_is_found_under_its_relax_name() -> None:
    plan = dataclasses.replace(
        sample_plan(), functions=(FunctionPlan("main", (planned(0, "add", "", "Add", 1, Verdict("acc", False)),), ()),)
    )
    assert explain_node_json(plan, "%0 add")[0]["op"] == "add"


def test_json_says_the_same_as_the_text() -> None:
    document = explain_json(sample_plan())
    assert document["targets"] == ["acc"] and document["summary"] == sample_plan().summary()
    assert document["coverage"][1]["ops"] == 3
    assert document["host"][1]["op_types"] == {"Pow": 2}
    assert document["partitions"][0]["composites"] == {"dense_relu": 1}
    assert explain_node_json(sample_plan(), "/fc/Relu")[0]["partition_symbol"] == "byoc_acc_0"


def test_a_plan_without_targets_says_that_none_was_asked_for() -> None:
    op = dataclasses.replace(planned(0, "add", "/Add", "Add", 0, Verdict("", False)), verdicts=())
    plan = Plan("m", "", "", (), sample_plan().settings, (FunctionPlan("main", (op,), ()),))
    assert "No target was asked for." in explain_text(plan)
    assert "Partitions" not in explain_text(plan)


def test_a_plan_with_nothing_on_the_host_says_so() -> None:
    function = sample_plan().functions[0]
    plan = dataclasses.replace(sample_plan(), functions=(FunctionPlan("main", function.ops[:2], function.partitions),))
    assert host_text(plan) == "Why on the host\nEvery op is on a target."


def test_html_for_notebooks_escapes_what_the_model_says() -> None:
    op = planned(0, "add", "<script>", "Add", 1, Verdict("acc", False, "check", "a < b"))
    plan = dataclasses.replace(sample_plan(), functions=(FunctionPlan("main", (op,), ()),))
