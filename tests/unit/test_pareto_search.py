"""Intervals, effects, frontiers, the store and the search, without a compiler."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import byoc.pareto.search as search_module
from byoc.errors import UsageError
from byoc.pareto.bootstrap import Bootstrap
from byoc.pareto.configuration import Configuration
from byoc.pareto.effects import effects, point_of
from byoc.pareto.evaluate import Job, Outcome, Study
from byoc.pareto.evolution import Evolution, evolve
from byoc.pareto.frontier import better_half, frontier, ranks
from byoc.pareto.memory import Memory
from byoc.pareto.search import Trials, halving
from byoc.pareto.space import SearchSpace
from byoc.pareto.store import Store
from byoc.pareto.tasks.task import Accuracy
from tests.unit.pareto_samples import CONFIG, A, B, C, D, outcome


class Sixteen(Accuracy):
    def __len__(self) -> int:
        return 16

    def run(self, session: Any, index: int) -> tuple[float, float]:
        raise NotImplementedError


PERFECT = [1.0] * 16


def bootstrap() -> Bootstrap:
    return Bootstrap([("t", Sixteen())], {"t": [(s, 1.0) for s in PERFECT]})


def test_only_an_interval_that_excludes_zero_calls_a_configuration_better() -> None:
    one_miss = [0.0] + [1.0] * 15
    half = [0.0, 1.0] * 8
    made = frontier([outcome(A, 10, half), outcome(B, 20, one_miss), outcome(C, 30, PERFECT)], bootstrap())
    assert made == {A: None, B: None, C: B}  # one item of sixteen does not show that C is better than B


def test_what_takes_more_and_is_not_better_is_needless() -> None:
    made = frontier([outcome(A, 10, PERFECT), outcome(B, 20, PERFECT), outcome(C, 5, [0.0] * 16)], bootstrap())
    assert made == {C: None, A: None, B: A}


def test_an_effect_is_the_mean_over_what_differs_on_one_axis_alone() -> None:
    def made(kv: str, weights: str, cache: int, misses: int) -> Outcome:
        items = {"t": [(float(i >= misses), 1.0) for i in range(16)]}
        return Outcome(Configuration(kv, weights, 8), items, Memory(10, cache, 0))

    found = effects(
        [made("k4v4:g8", "f32", 4, 4), made("k4v4:g8:hadamard", "f32", 4, 0), made("k4v4:g8", "f16", 4, 8),
         made("k4v4:g8:hadamard", "f16", 4, 8), made("k2v2:g8", "f32", 2, 16), made("k2v2:g8;0=k8v8", "f32", 3, 2)],
        bootstrap(),
    )  # fmt: skip
    named = {(e.axis, e.than, e.value): e for e in found}
    assert list(named) == [
        ("bits", "k2v2", "k4v4"), ("key_transform", "hadamard", "none"), ("weights", "f16", "f32"),
    ]  # fmt: skip
    transform = named["key_transform", "hadamard", "none"]
    assert (transform.pairs, transform.loss.value, transform.memory) == (2, 12.5, 0.0) and transform.loss.low > 0
    bits = named["bits", "k2v2", "k4v4"]
    assert (bits.loss.value, bits.cache, bits.memory) == (-75.0, 2.0, 2.0)


def test_a_point_has_no_value_where_layers_or_sides_differ() -> None:
    assert point_of(Configuration("k4v4;0=k8v8", "f32", 8)) is None
    assert point_of(Configuration("k4v4:k.per-channel", "f32", 8)) is None
    assert point_of(Configuration("k16v4:v.g64", "f32", 0)) == {
        "bits": "k16v4", "granularity": "per-token", "group": 64, "key_transform": "none", "weights": "f32", "chunk": 0,
    }  # fmt: skip


def test_the_loss_of_perplexity_grows_with_it() -> None:
    class Likelihood(Sixteen):
        higher = False

        def score(self, ratio: float) -> float:
            return float(np.exp(ratio))

    pairs = [(1.0, 1.0)] * 16
    found = Bootstrap([("t", Likelihood())], {"t": pairs}).loss({"t": [(1.0 + np.log(1.1), 1.0)] * 16})
    assert (found.value, found.low, found.high) == pytest.approx((10.0, 10.0, 10.0))


@given(st.dictionaries(st.sampled_from([A, B, C, D]), st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1))
def test_no_configuration_of_the_first_front_is_dominated(points: dict[Configuration, tuple[float, float]]) -> None:
    rank = ranks(points)
    for c, p in points.items():
        beaten = any(q[0] <= p[0] and q[1] <= p[1] and q != p for q in points.values())
        assert (rank[c] > 0) == beaten


def test_halving_keeps_the_whole_first_front() -> None:
    outcomes = [outcome(c, m, PERFECT) for c, m in ((A, 10), (B, 20), (C, 30), (D, 40))]
    losses = {A: 9.0, B: 5.0, C: 1.0, D: 8.0}
    assert better_half(outcomes, lambda o: losses[o.configuration]) == [A, B, C]


def test_a_stored_trial_is_found_again_and_grows(tmp_path: Path) -> None:
    store = Store(tmp_path / "db", "study")
    store.add(outcome(A, 10, [1.0]))
    store.close()
    store = Store(tmp_path / "db", "study")
    store.add(replace(outcome(A, 10, [0.0]), first={"t": 1}))
    store.add(replace(outcome(A, 10, [0.0]), first={"t": 1}))  # as a second search on the same file finds it
    found = store.get(A)
    assert found is not None and found.items == {"t": [(1.0, 1.0), (0.0, 1.0)]} and found.memory == Memory(10, 0, 0)
    assert Store(tmp_path / "db", "another study").get(A) is None


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "db").write_text("not a database, and long enough to be read as one" * 10)
    with pytest.raises(UsageError, match="cannot be used as a database"):
        Store(tmp_path / "db", "study")


class Made:
    """Workers that make outcomes up, and may stop in the middle."""

    def __init__(self, until: int = 10**9) -> None:
        self.until, self.ran = until, 0

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        for job in reversed(jobs):  # the order of completion is not that of asking
            if self.ran == self.until:
                raise KeyboardInterrupt
            self.ran += 1
            first, end = job.items[0]
            bits = int(job.configuration.kv[1])
            scores = [float(i % 4 < bits // 2) for i in range(first, end)]
            items = {"t": [(s, 1.0) for s in scores]}
            yield Outcome(job.configuration, items, Memory(bits * 100, 0, 0), first={"t": first})


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setattr(search_module, "tasks_of", lambda _: (Sixteen(),))
    return Study("model", (("t", ("map",)),), 128)


def trials_of(study: Study, path: Path, workers: Any) -> Trials:
    return Trials(study, Store(path, "study"), workers, lambda *_: None)


def test_an_interrupted_search_goes_on_where_it_stood_and_finds_the_same(study: Study, tmp_path: Path) -> None:
    parts = (0.25, 1.0)
    whole = halving(trials_of(study, tmp_path / "a", Made()), [A, B, C], bootstrap(), parts)
    with pytest.raises(KeyboardInterrupt):
        halving(trials_of(study, tmp_path / "b", Made(until=4)), [A, B, C], bootstrap(), parts)
    rest = Made()
    again = halving(trials_of(study, tmp_path / "b", rest), [A, B, C], bootstrap(), parts)
    assert again == whole and rest.ran == 2


def test_evolution_proposes_the_same_again_and_measures_nothing_twice(study: Study, tmp_path: Path) -> None:
    space = SearchSpace(bits=("k8v8", "k8v4", "k4v4", "k4v2", "k2v2"), group=(2, 4, 8, 16), weights=("f32", "rtn4:g32"))
    fitting = space.candidates(CONFIG)
    how = Evolution(trials=24, population=8)
    first = Made()
    found = evolve(fitting, trials_of(study, tmp_path / "a", first), bootstrap(), how, seed=3)
    with pytest.raises(KeyboardInterrupt):
        evolve(fitting, trials_of(study, tmp_path / "b", Made(until=5)), bootstrap(), how, seed=3)
    rest = Made()
    again = evolve(fitting, trials_of(study, tmp_path / "b", rest), bootstrap(), how, seed=3)
    assert again == found and len(found) == first.ran == rest.ran + 5
    assert evolve(fitting, trials_of(study, tmp_path / "c", Made()), bootstrap(), how, seed=4) != found
