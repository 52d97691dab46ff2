"""A whole cut is estimated by its ops, its calls and what crosses; the cost policy keeps the best of what it tries."""

from __future__ import annotations

import pytest

from byoc.codegen import Peaks
from byoc.graph import Graph
from byoc.partitioner.assign import Constraints, assign_by_priority
from byoc.partitioner.cost import CostModel
from byoc.partitioner.estimate import parts_of, parts_of_plan, seconds_of_cut
from byoc.partitioner.match import find_matches
from byoc.partitioner.merge import merge
from byoc.partitioner.plan import FunctionPlan, Settings
from byoc.partitioner.planner import plan_functions
from byoc.partitioner.target import Target
from tests.unit.dags import graph_from, target

BYTES = 4 * 8 * 4  # of each value
HOST = Peaks(flops=1e9, bandwidth=float("inf"), link_bandwidth=float("inf"), call_overhead=0.0)


def estimate(graph: Graph, *targets: Target) -> float:
    matches = [find_matches(graph, t) for t in targets]
    assignment = assign_by_priority(matches, Constraints({}))
    by_name = {t.name: t for t in targets}
    return seconds_of_cut(graph, parts_of(assignment, merge(graph, assignment), by_name), CostModel(1, HOST))


def test_a_cut_takes_its_ops_its_calls_and_what_crosses_its_edges() -> None:
    peaks = Peaks(link_bandwidth=BYTES / 10, call_overhead=1.0)
    acc = target("acc", ["relu"], cost=lambda m: 100.0, peaks=peaks)
    chain = graph_from([("relu", [-1]), ("relu", [0]), ("exp", [1]), ("relu", [2])])
    # Three ops, two calls, and in: the caller's value, exp's; out: to exp, to the caller.
    assert estimate(chain, acc) == pytest.approx(3 * 100 + 2 * 1 + 4 * 10, abs=1e-3)


def test_a_value_goes_once_to_a_partition_however_many_of_its_ops_read_it() -> None:
    acc = target("acc", ["relu", "add"], cost=lambda m: 0.0, peaks=Peaks(link_bandwidth=BYTES, call_overhead=0.0))
    graph = graph_from([("exp", [-1]), ("relu", [0]), ("relu", [0]), ("add", [1, 2])])
    assert estimate(graph, acc) == pytest.approx(2.0, abs=1e-3)


def test_values_between_two_partitions_go_at_the_slower_of_their_links() -> None:
    fast = target("fast", ["relu"], cost=lambda m: 0.0, peaks=Peaks(link_bandwidth=BYTES, call_overhead=0.0))
    slow = target("slow", ["exp"], cost=lambda m: 0.0, peaks=Peaks(link_bandwidth=BYTES / 5, call_overhead=0.0))
    # In at 1, across and out at 5.
    assert estimate(graph_from([("relu", [-1]), ("exp", [0])]), fast, slow) == pytest.approx(1 + 5 + 5)


def by_cost(graph: Graph, *targets: Target) -> FunctionPlan:
    model = CostModel(1, Peaks(flops=1.0, bandwidth=1.0, link_bandwidth=1.0, call_overhead=1.0))
    (function,) = plan_functions([graph], targets, Settings(policy="cost"), model=model)
    return function


def test_threads_change_once_each_way_but_not_beside_what_takes_no_time() -> None:
    peaks = Peaks(link_bandwidth=float("inf"), call_overhead=0.0, switch_overhead=1.0)
    acc = target("acc", ["relu"], cost=lambda m: 0.0, peaks=peaks)

    def seconds(graph: Graph) -> float:
        return seconds_of_cut(graph, parts_of_plan(graph, by_priority(graph, acc), {"acc": acc}), CostModel(1, HOST))

    assert seconds(graph_from([("exp", [-1]), ("relu", [0]), ("exp", [1])])) == pytest.approx(2.0, abs=1e-3)
    assert seconds(graph_from([("exp", [-1]), ("exp", [0]), ("relu", [0, 1])])) == pytest.approx(1.0, abs=1e-3)
    assert seconds(graph_from([("reshape", [-1]), ("relu", [0]), ("reshape", [1])])) == pytest.approx(0.0, abs=1e-3)


def by_priority(graph: Graph, *targets: Target) -> FunctionPlan:
    (function,) = plan_functions([graph], targets, Settings())
    return function


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_the_order_of_the_targets_does_not_matter_to_the_cost_policy(names: tuple[str, str]) -> None:
    free = Peaks(link_bandwidth=float("inf"), call_overhead=1e-6)
    seconds = {"a": {"relu": 1e-3, "exp": 5e-3}, "b": {"relu": 4e-3, "exp": 2e-3}}
    targets = [target(n, ["relu", "exp"], cost=lambda m, n=n: seconds[n][m.root.op], peaks=free) for n in names]
    function = by_cost(graph_from([("relu", [-1]), ("exp", [0]), ("relu", [1])]), *targets)
    assert [o.owner for o in function.ops] == ["a", "b", "a"]


def test_a_mix_that_pays_more_for_its_edges_than_it_saves_is_not_made() -> None:
    narrow = Peaks(link_bandwidth=BYTES / 1.0, call_overhead=1e-6)
    seconds = {"a": {"relu": 1.0, "exp": 1.5}, "b": {"relu": 5.0, "exp": 1.0}}
    targets = [target(n, ["relu", "exp"], cost=lambda m, n=n: seconds[n][m.root.op], peaks=narrow) for n in "ab"]
    function = by_cost(graph_from([("relu", [-1]), ("exp", [0]), ("relu", [1])]), *targets)
    assert [o.owner for o in function.ops] == ["a", "a", "a"]


def test_what_the_caller_hands_over_counts_for_the_owner_that_has_to_turn_it() -> None:
    turning = Peaks(link_bandwidth=BYTES / 10.0, call_overhead=0.0)
    plain = Peaks(link_bandwidth=float("inf"), call_overhead=0.0)
    targets = [
        target("turning", ["relu"], cost=lambda m: 1.0, peaks=turning),
        target("plain", ["relu"], cost=lambda m: 2.0, peaks=plain),
    ]
    assert by_cost(graph_from([("relu", [-1])]), *targets).ops[0].owner == "plain"
