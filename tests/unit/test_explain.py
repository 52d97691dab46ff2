"""The explanation of a plan: rows, text, JSON."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byoc.errors import UsageError
from byoc.explain import (
    difference_text,
    explain_json,
    explain_node_json,
    explain_node_text,
    explain_text,
    host_reasons,
    host_text,
    partition_rows,
    shares,
    splits,
)
from byoc.partitioner.plan import Composite, FunctionPlan, Partition, Plan, Settings, Verdict
from byoc.partitioner.planner import plan_functions
from tests.unit.dags import graph_from, target
from tests.unit.sample_plan import ACCEPTED, planned, sample_plan


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


def split_plan() -> Plan:
    """acc, host, acc, host, acc in a chain, and a host op from the first to the last."""
    refused = Verdict("acc", False, "check", "takes exponent 2 only")
    producers = [(), (0,), (1,), (2,), (0,), (3, 4)]
    owners = ["acc", "host", "acc", "host", "host", "acc"]
    partition_of = {0: 0, 2: 1, 5: 2}
    ops = tuple(
        dataclasses.replace(
            planned(k, "power", f"/n{k}", "Pow", 1, ACCEPTED if owner == "acc" else refused, owner),
            producers=producers[k],
            partition=partition_of.get(k, -1),
        )
        for k, owner in enumerate(owners)
    )
    partitions = tuple(
        Partition(index, "acc", f"byoc_acc_{index}", (k,), (Composite("dense_relu", (k,), k),), 8, 8)
        for k, index in partition_of.items()
    )
    return dataclasses.replace(sample_plan(), functions=(FunctionPlan("main", ops, partitions),))


def test_a_split_is_told_by_the_ops_on_the_paths_between_neighbouring_partitions() -> None:
    found = [(s.before, s.after, s.ops, s.first_node, s.reason) for s in splits(split_plan())]
    assert found == [(0, 1, 1, "/n1", "takes exponent 2 only"), (1, 2, 1, "/n3", "takes exponent 2 only")]


def test_splits_for_one_reason_share_a_line_of_the_text() -> None:
    assert "0 -> 1 and 1 more  acc" in explain_text(split_plan())


def test_a_plan_does_not_differ_from_itself() -> None:
    assert difference_text(sample_plan(), sample_plan()) == "The plans do not differ."


def test_a_difference_names_the_ops_that_moved_with_the_reason_of_the_new_plan() -> None:
    before = sample_plan()
    ops = list(before.functions[0].ops)
    for k in (0, 1):
        verdict = Verdict("acc", False, "prune", "too small")
        ops[k] = dataclasses.replace(ops[k], owner="host", partition=-1, verdicts=(verdict,))
    after = dataclasses.replace(
        before, functions=(FunctionPlan("main", tuple(ops[:4]), ()),), settings=Settings(min_ops=3)
    )
    assert (
        difference_text(before, after)
        == """\
Asked for
         before  after
-------  ------  -----
min-ops  1       3

Coverage
                   before  after
-----------------  ------  -----
ops of acc              2      0
FLOPs of acc          81%     0%
ops of host             3      4
FLOPs of host         19%   100%
partitions              1      0
across boundaries   6 KiB    0 B

Moved
ops      FLOPs  from  to    stage  types         first node  reason
---  ---------  ----  ----  -----  ------------  ----------  ---------
  2  8.1 kFLOP  acc   host  prune  MatMul, Relu  /fc/MatMul  too small

Only before
op          count
----------  -----
nn.softmax      1"""
    )


def test_what_a_terminal_would_obey_is_printed_as_its_escape() -> None:
    op = planned(0, "add", "/a\x1b[31m", "Add", 1, Verdict("acc", False, "check", "no"))
    plan = dataclasses.replace(sample_plan(), functions=(FunctionPlan("main", (op,), ()),))
    assert "\x1b" not in explain_text(plan) and "/a\\x1b[31m" in explain_text(plan)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.lists(st.integers(0, 30), max_size=3)), min_size=1, max_size=30))
@settings(max_examples=150, deadline=None)
def test_splits_are_the_nearest_partitions_that_reach_one_through_ops_of_others(
    drawn: list[tuple[str, list[int]]],
) -> None:
    graph = graph_from([(name, [p % k for p in producers] if k else [-1]) for k, (name, producers) in enumerate(drawn)])
    functions = plan_functions([graph], [target("acc", ["a"])], Settings())
    plan = dataclasses.replace(sample_plan(), functions=functions)
    assert {(s.before, s.after): s.ops for s in splits(plan)} == splits_by_hand(functions[0])


def splits_by_hand(function: FunctionPlan) -> dict[tuple[int, int], int]:
    """As the words say it: all pairs, each path searched anew."""
    ops = function.ops
    readers = {op.index: [o.index for o in ops if op.index in o.producers] for op in ops}

    def closure(start: set[int], step: dict[int, list[int]], inside: set[int]) -> set[int]:
        found: set[int] = set()
        stack = [n for i in start for n in step[i] if n in inside]
        while stack:
            i = stack.pop()
            if i not in found:
                found.add(i)
                stack += [n for n in step[i] if n in inside]
        return found

    host = {op.index for op in ops if op.owner == "host"}
    everything = {op.index for op in ops}
    producers = {op.index: list(op.producers) for op in ops}
    parts = {p.index: set(p.ops) for p in function.partitions}
    paths = {
        (a, b): closure(parts[a], readers, host) & closure(parts[b], producers, host)
        for a in parts
        for b in parts
        if a != b
    }
    joined = {a: closure(parts[a], readers, everything) for a in parts}
    for _ in parts:  # what a partition leads to, others lead to through it
        for a in parts:
            for c in parts:
                if joined[a] & parts[c]:
                    joined[a] |= joined[c] | parts[c]
    return {
        (a, b): len(way)
        for (a, b), way in paths.items()
        if way and not any(paths[c, b] and joined[a] & parts[c] for c in parts if c not in (a, b))
    }


def test_what_stays_float_is_listed_by_reason() -> None:
    plan = sample_plan()
    (function,) = plan.functions
    noted = [dataclasses.replace(op, note="it has no integer form") if op.op == "power" else op for op in function.ops]
    plan = dataclasses.replace(plan, functions=(dataclasses.replace(function, ops=tuple(noted)),))
    (row,) = explain_json(plan)["float"]
    assert row == {
        "reason": "it has no integer form", "ops": 2, "flops": 900, "op_types": {"Pow": 2}, "first_node": "/norm/Pow"
    }  # fmt: skip
    assert "What stays float\n" in explain_text(plan)
    assert "  float   it has no integer form" in explain_node_text(plan, "/norm/Pow")
    assert explain_json(sample_plan())["float"] == []
    assert Plan.from_json(plan.to_json()) == plan


def test_plans_from_before_notes_are_read() -> None:
    document = json.loads(sample_plan().to_json())
    for op in document["functions"][0]["ops"]:
        del op["note"]
    assert Plan.from_json(json.dumps(document)) == sample_plan()
