"""The search over blockings: deterministic, never twice the same, and it ends at the best neighbour."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from byoc.host.machine import Machine
from byoc.host.tiling import Blocking, Extents, choose_blocking
from byoc.tune.search import propose

AVX512 = Machine(64, 32)

extents = st.builds(
    Extents, st.integers(1, 400), st.integers(1, 600), st.integers(1, 5000), st.just("float32"), st.booleans()
)


def searched(problem: Extents, budget: int, seconds: dict[Blocking, float] | None = None) -> dict[Blocking, float]:
    """All blockings tried; the time is the one given, else that of more sums in registers being faster."""
    known: dict[Blocking, float] = {}
    while len(known) < budget:
        blocking = propose(problem, AVX512, known, budget)
        if blocking is None:
            break
        assert blocking not in known
        known[blocking] = (seconds or {}).get(blocking, 1 / (blocking.rows * blocking.columns + blocking.tasks))
    return known


@given(extents, st.integers(1, 40))
def test_every_proposal_fits_the_registers_and_the_problem(problem: Extents, budget: int) -> None:
    for blocking in searched(problem, budget):
        vectors = blocking.columns // 16
        assert blocking.rows * vectors + (1 if problem.columnwise else vectors) < 32
        assert 1 <= blocking.rows <= max(problem.rows, choose_blocking(problem, AVX512).rows)
        assert 16 <= blocking.columns < problem.columns + 16


@given(extents, st.integers(2, 30))
def test_the_default_comes_first_and_the_search_can_be_cut_anywhere(problem: Extents, budget: int) -> None:
    tried = list(searched(problem, budget))
    assert tried[0] == choose_blocking(problem, AVX512)
    known = {b: 1 / (b.rows * b.columns + b.tasks) for b in tried[: len(tried) // 2]}
    if 0 < len(known) < len(tried):
        assert propose(problem, AVX512, known, budget) == tried[len(known)]


def test_it_climbs_to_the_neighbours_of_the_best() -> None:
    problem = Extents(196, 64, 576, "float32")
    default = choose_blocking(problem, AVX512)
    fast = Blocking(default.rows, default.columns, tasks=4)
    tried = list(searched(problem, 12, {default: 1e-9, fast: 1e-10}))
    assert fast in tried
    assert Blocking(default.rows, default.columns, tasks=4, cached_weights=128 * 1024) in tried[tried.index(fast) :]
