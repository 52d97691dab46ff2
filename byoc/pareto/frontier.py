"""Which configurations nobody dominates, where only intervals that say so call one better."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from byoc.pareto.bootstrap import Bootstrap
from byoc.pareto.configuration import Configuration
from byoc.pareto.evaluate import Outcome


def frontier(outcomes: Sequence[Outcome], bootstrap: Bootstrap) -> dict[Configuration, Configuration | None]:
    """For every configuration the one on the frontier that makes it needless; None for those on the frontier.

    From the smallest up: a configuration is on the frontier if it loses less than the last one there, and the paired
    interval of the difference excludes zero.  What takes more memory without that is needless.
    """
    losses = {o.configuration: bootstrap.loss(o.items).value for o in outcomes}
    ordered = sorted(outcomes, key=lambda o: (_total(o), losses[o.configuration], o.configuration))
    made: dict[Configuration, Configuration | None] = {}
    last: Outcome | None = None
    for outcome in ordered:
        if last is None or bootstrap.worse(last.items, outcome.items):
            made[outcome.configuration] = None
            last = outcome
        else:
            made[outcome.configuration] = last.configuration
    return made


def ranks(points: Mapping[Configuration, tuple[float, float]]) -> dict[Configuration, int]:
    """The front of (memory, loss) that each lies on, by values alone: 0 for those that none dominates, and so on.

    Deb et al., A fast and elitist multiobjective genetic algorithm: NSGA-II (2002), III.A.
    """
    left, found, rank = dict(points), {}, 0
    while left:
        front = [c for c, p in left.items() if not any(_dominates(q, p) for q in left.values())]
        for c in front:
            found[c] = rank
            del left[c]
        rank += 1
    return found


def better_half(outcomes: Sequence[Outcome], loss: Callable[[Outcome], float]) -> list[Configuration]:
    """Half of the configurations, by fronts and then by loss, and at least the whole first front."""
    points = {o.configuration: (float(_total(o)), loss(o)) for o in outcomes}
    rank = ranks(points)
    ordered = sorted(points, key=lambda c: (rank[c], points[c][1], c))
    keep = max((len(ordered) + 1) // 2, sum(r == 0 for r in rank.values()))
    chosen = set(ordered[:keep])
    return [o.configuration for o in outcomes if o.configuration in chosen]


def _dominates(a: tuple[float, float], b: tuple[float, float]) -> bool:
    return a[0] <= b[0] and a[1] <= b[1] and a != b


def _total(outcome: Outcome) -> int:
    assert outcome.memory is not None
    return outcome.memory.total
