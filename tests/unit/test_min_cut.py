"""Labellings: optimal for two owners, never worse than the start for more, and forbidden ones are never chosen."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from byoc.partitioner.min_cut import FORBIDDEN, Edge, energy, label


def potts(weight: float) -> object:
    return lambda a, b: 0.0 if a == b else weight


@st.composite
def problems(draw: st.DrawFn, labels: int) -> tuple[list[list[float]], list[Edge]]:
    n = draw(st.integers(1, 6))
    seconds = st.floats(0, 10, allow_nan=False).map(lambda x: round(x, 2))
    costs = [[draw(seconds) for _ in range(labels)] for _ in range(n)]
    for row in costs:
        for k in range(1, labels):
            if draw(st.integers(0, 3)) == 0:
                row[k] = FORBIDDEN
    edges = []
    for _ in range(draw(st.integers(0, 8))):
        a, b = draw(st.integers(0, n - 1)), draw(st.integers(0, n - 1))
        if a != b:
            edges.append(Edge(a, b, potts(draw(seconds))))  # type: ignore[arg-type]
    return costs, edges


def best_by_trying_all(costs: list[list[float]], edges: list[Edge]) -> float:
    return min(energy(costs, edges, labels) for labels in itertools.product(range(len(costs[0])), repeat=len(costs)))


@given(problems(labels=2))
@settings(max_examples=200, deadline=None)
def test_two_owners_get_the_cheapest_labelling(problem: tuple[list[list[float]], list[Edge]]) -> None:
    costs, edges = problem
    found = energy(costs, edges, label(costs, edges, [0] * len(costs)))
    assert found <= best_by_trying_all(costs, edges) + 1e-4


@given(problems(labels=3))
@settings(max_examples=150, deadline=None)
def test_more_owners_get_at_most_twice_the_cheapest(problem: tuple[list[list[float]], list[Edge]]) -> None:
    costs, edges = problem
    start = [0] * len(costs)
    found = energy(costs, edges, label(costs, edges, start))
    assert found <= energy(costs, edges, start)
    assert found <= 2 * best_by_trying_all(costs, edges) + 1e-4


def test_ops_that_are_tied_get_one_owner() -> None:
    tie = Edge(0, 1, lambda a, b: FORBIDDEN if (a == 1) != (b == 1) else 0.0)
    assert label([[5.0, 0.0], [0.0, 2.0]], [tie], [0, 0]) == [1, 1]
    assert label([[5.0, 0.0], [0.0, 9.0]], [tie], [0, 0]) == [0, 0]
