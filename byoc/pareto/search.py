"""Searching: trials that are looked up or run, all of a list by halving, and generations of an evolution."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from byoc.errors import UsageError
from byoc.pareto.bootstrap import Bootstrap
from byoc.pareto.configuration import Configuration
from byoc.pareto.evaluate import Job, Outcome, Study, tasks_of
from byoc.pareto.frontier import better_half
from byoc.pareto.store import Store
from byoc.pareto.workers import Workers

Progress = Callable[[str, int, int], None]


@dataclass
class Trials:
    """Outcomes of configurations at some part of the items: what the store knows is not run again."""

    study: Study
    store: Store
    workers: Workers
    progress: Progress

    def outcomes(self, stage: str, configurations: Sequence[Configuration], part: float = 1.0) -> list[Outcome]:
        """In the order of `configurations`, with the first `part` of every task's items.

        A configuration that cannot be compiled has an outcome with an error.
        """
        ends = [max(1, ceil(part * len(task))) for task in tasks_of(self.study)]
        jobs = []
        for configuration in configurations:
            known = self.store.get(configuration)
            has = [len(known.items.get(n, ())) if known else 0 for n, _ in self.study.tasks]
            refused = known is not None and known.error
            if not refused and any(h < e for h, e in zip(has, ends, strict=True)):
                wanted = tuple((min(h, e), e) for h, e in zip(has, ends, strict=True))
                jobs.append(Job(self.study, configuration, wanted))
        done = len(configurations) - len(jobs)
        self.progress(stage, done, len(configurations))
        lost = {}
        for outcome in self.workers.run(jobs) if jobs else ():
            if outcome.lost:
                lost[outcome.configuration] = outcome
            else:
                self.store.add(outcome)
            done += 1
            self.progress(stage, done, len(configurations))
        return [lost.get(c) or self._first(c, ends) for c in configurations]

    def reference(self, configuration: Configuration) -> Outcome:
        """At all items.  Raises :class:`UsageError` where it cannot be compiled."""
        outcome = self.outcomes("reference", [configuration])[0]
        if outcome.error:
            raise UsageError(f"the reference {configuration} cannot be measured", outcome.error.splitlines()[0])
        return outcome

    def _first(self, configuration: Configuration, ends: Sequence[int]) -> Outcome:
        known = self.store.get(configuration)
        assert known is not None
        items = {n: known.items.get(n, [])[:e] for (n, _), e in zip(self.study.tasks, ends, strict=True)}
        return Outcome(configuration, items, known.memory, known.error, known.seconds)


def halving(
    trials: Trials, configurations: Sequence[Configuration], bootstrap: Bootstrap, parts: Sequence[float]
) -> dict[Configuration, Outcome]:
    """All at the first part of the items, the better half of them at the next, and so on.

    Jamieson and Talwalkar, Non-stochastic best arm identification (2016), with fronts in the place of one value.
    The outcomes of all, each at the largest part that it reached.
    """
    found: dict[Configuration, Outcome] = {}
    left = list(configurations)
    for i, part in enumerate(parts):
        outcomes = trials.outcomes(f"trials {part:.0%}", left, part)
        found.update((o.configuration, o) for o in outcomes)
        if i + 1 < len(parts):
            good = [o for o in outcomes if not o.error]
            left = better_half(good, lambda o: bootstrap.loss(o.items).value)
    return found


def merged(*groups: Iterable[Configuration]) -> list[Configuration]:
    """Each once, in the order of their first appearance."""
    return list(dict.fromkeys(c for group in groups for c in group))
