"""Long use, in short: the benchmark's parts with small counts."""

from __future__ import annotations

from pathlib import Path

import pytest

import byoc
from benchmarks import soak


@pytest.fixture(scope="module", params=["csource", "host"])
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("soak") / "small.byoc"
    targets = [] if request.param == "host" else [request.param]
    byoc.compile(soak.model().SerializeToString(), targets).save(path)
    return path


def test_runs_threads_and_sessions_give_the_first_runs_bits(small: Path) -> None:
    assert soak.runs(small, 500)[2] == 0
    assert soak.threads(small, 16, 50)[2] == 0
    assert soak.loads(small, 10)[2] == 0
    assert soak.together(small, 5)[2] == 0


@pytest.mark.slow
def test_memory_does_not_grow(small: Path) -> None:
    for part in (lambda: soak.runs(small, 100_000), lambda: soak.loads(small, 200), lambda: soak.together(small, 10)):
        _, sizes, wrong = part()
        assert wrong == 0 and sizes[-1] - sizes[1] < 2**20
