"""Scores with intervals: items are drawn again with replacement, the same ones for both sides of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from byoc.pareto.tasks.task import Task

Array = np.ndarray[Any, Any]
Pairs = Sequence[tuple[float, float]]
DRAWS = 2000


@dataclass(frozen=True)
class Interval:
    """A value and where it lies with 95% confidence."""

    value: float
    low: float
    high: float


class Bootstrap:
    """Losses of configurations relative to a reference, in percent, over the items of all tasks.

    The loss of a task is how much worse its score is than the reference's, relative to that; the loss of a
    configuration is the mean over tasks.  Intervals are percentiles of a paired bootstrap over items (Efron and
    Tibshirani, An Introduction to the Bootstrap, 13.3).
    """

    def __init__(self, tasks: Sequence[tuple[str, Task]], reference: Mapping[str, Pairs], seed: int = 0) -> None:
        self.tasks, self.reference, self.seed = tasks, reference, seed

    def score(self, name: str, items: Mapping[str, Pairs]) -> Interval:
        """Of one task."""
        task = dict(self.tasks)[name]
        pairs = np.asarray(items[name], float)
        draws = [task.score(r) for r in _ratios(pairs, self._draws(name, len(pairs)))]
        return _interval(task.score(float(pairs[:, 0].sum() / pairs[:, 1].sum())), draws)

    def loss(self, items: Mapping[str, Pairs]) -> Interval:
        """Against the reference, on the items that both have."""
        return self.difference(items, self.reference)

    def difference(self, items: Mapping[str, Pairs], other: Mapping[str, Pairs]) -> Interval:
        """How much more `items` lose than `other` does, in points; positive where they are worse."""
        return self.mean_difference([(items, other)])

    def mean_difference(self, pairs: Sequence[tuple[Mapping[str, Pairs], Mapping[str, Pairs]]]) -> Interval:
        """The mean of :meth:`difference` over pairs, all of them asked the same items in each draw."""
        values, draws = zip(*(self._difference(items, other) for items, other in pairs), strict=True)
        return _interval(float(np.mean(values)), np.mean(draws, axis=0))

    def _difference(self, items: Mapping[str, Pairs], other: Mapping[str, Pairs]) -> tuple[float, Array]:
        """The value and its draws."""
        values, draws = [], []
        for name, task in self.tasks:
            count = min(len(items[name]), len(other[name]), len(self.reference[name]))
            sets = [np.asarray(s[name][:count], float) for s in (items, other, self.reference)]
            chosen = np.concatenate([np.arange(count)[None], self._draws(name, count)])
            a, b, base = (np.array([task.score(r) for r in _ratios(s, chosen)]) for s in sets)
            worse = (b - a if task.higher else a - b) / np.where(base == 0, 1.0, base)
            values.append(100 * worse[0])
            draws.append(100 * worse[1:])
        return float(np.mean(values)), np.mean(draws, axis=0)

    def worse(self, items: Mapping[str, Pairs], other: Mapping[str, Pairs]) -> bool:
        """Whether the interval says that `items` lose more than `other`."""
        return self.difference(items, other).low > 0

    def _draws(self, name: str, count: int) -> Array:
        """int[draws, count]; the same for every configuration, which pairs them."""
        seed = [self.seed, count, *name.encode()]
        return np.random.default_rng(seed).integers(0, count, (DRAWS, count))


def _ratios(pairs: Array, chosen: Array) -> Array:
    totals = pairs[chosen].sum(axis=1)
    return np.asarray(totals[:, 0] / totals[:, 1])


def _interval(value: float, draws: Any) -> Interval:
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(float(value), float(low), float(high))
