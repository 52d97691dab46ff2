"""What a partition takes is shared out among its composites, without its call, its edges and what is free."""

from __future__ import annotations

import pytest

from byoc.codegen import Match, Peaks
from byoc.graph import Graph
from byoc.partitioner.cost import CostModel
from byoc.profile.costs import shared_out
from tests.unit.dags import graph_from, target

BYTES = 4 * 8 * 4  # of each value
CHAIN = [("matmul", [-1, -1]), ("relu", [0]), ("exp", [1])]
EDGES = Peaks(link_bandwidth=BYTES / 10.0, call_overhead=1.0)


def shares(
    graph: Graph, whole: float, apart: dict[str, float], peaks: Peaks = EDGES, free: tuple[str, ...] = ()
) -> list[float]:
    def cost(m: Match) -> float:
        return 0.0 if m.root.op in free else 1.0

    acc = target("acc", ["matmul", "relu", "exp", "reshape"], cost=cost, peaks=peaks)
    times = {(n.index,): apart[n.op] for n in graph.nodes}
    together = {tuple(n.index for n in graph.nodes): whole}
    return list(shared_out(graph, together, times, acc, CostModel(1)).values())


def test_calls_and_edges_are_left_out_of_the_whole_and_of_its_parts() -> None:
    # One call and two edges of 10 s each: 21 s of every partition.
    assert shares(graph_from(CHAIN), 21 + 60, {"matmul": 21 + 40, "relu": 21 + 30, "exp": 21 + 10}) == pytest.approx(
        [60 * 4 / 8, 60 * 3 / 8, 60 * 1 / 8]
    )


def test_a_composite_that_is_free_by_its_codegen_stays_free_though_it_takes_time_alone() -> None:
    found = shares(graph_from(CHAIN), 21 + 50, {"matmul": 21 + 40, "relu": 21 + 30, "exp": 21 + 10}, free=("relu",))
    assert found == pytest.approx([40, 0, 10])


def test_a_view_stays_free() -> None:
    graph = graph_from([("reshape", [-1]), ("exp", [0])])
    acc = target("acc", ["reshape", "exp"], peaks=Peaks(call_overhead=0.0, link_bandwidth=float("inf")))
    found = shared_out(graph, {(0, 1): 5.0}, {(0,): 3.0, (1,): 4.0}, acc, CostModel(1))
    assert found == {(0,): 0.0, (1,): 5.0}


def test_edges_that_seem_to_take_all_of_the_time_leave_a_tenth() -> None:
    assert shares(graph_from([("exp", [-1])]), 20.0, {"exp": 20.0}) == pytest.approx([2.0])
