"""Tune the kernels of a module, and choose by what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import tvm

from byoc.errors import UsageError
from byoc.host.kernel import Tiled
from byoc.host.machine import machine_of
from byoc.host.prepare import prepare_host
from byoc.host.tiling import Blocking, choose_blocking
from byoc.runtime.threads import prepare_pool, use_threads
from byoc.tune.database import Database, Place, Trial
from byoc.tune.measure import Candidate, build, compare
from byoc.tune.search import propose

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Tuning:
    """A database of trials and how it is used: up to `trials` of each kernel are measured (0: only read)."""

    database: Database
    place: Place
    trials: int = 0

    def choose(self, tiled: Tiled) -> Blocking | None:
        """The best blocking that the database has; for :func:`byoc.host.prepare.prepare_host`."""
        best = self.database.best(tiled.description, self.place)
        return best.blocking if best is not None else None

    def digest(self) -> str:
        """Of all that :meth:`choose` may answer."""
        return self.database.digest(self.place)

    def run(self, module: tvm.IRModule, target: Any, progress: Progress) -> None:
        """Measure blockings of each distinct convolution and matrix product of static shape.

        Trials that the database has are not repeated; each new one is kept at once, so that an interrupted search
        loses at most one.

        Raises
        ------
        UsageError: the target is another CPU than this machine's.
        """
        if not self.trials:
            return
        own = tvm.target.codegen.llvm_get_system_cpu()
        if self.place.cpu != own:
            raise UsageError(
                f"kernels for {self.place.cpu} cannot be tuned on this machine, a {own}",
                "they are measured by running them",
                "tune without --mcpu, or on such a machine, and use the database here with --tune-db",
            )
        prepare_pool(self.place.threads)
        use_threads(self.place.threads)
        tunable = _tunable(module, target)
        total = len(tunable) * self.trials
        for number, tiled in enumerate(tunable):
            for done in _search(tiled, target, self):
                progress("tune", number * self.trials + done, total)


def _tunable(module: tvm.IRModule, target: Any) -> list[Tiled]:
    """Each distinct kernel of static shape."""
    found: dict[str, Tiled] = {}

    def note(tiled: Tiled) -> None:
        if tiled.static:
            found.setdefault(tiled.description, tiled)

    prepare_host(module, target, note)
    return list(found.values())


def _search(tiled: Tiled, target: Any, tuning: Tuning) -> Iterator[int]:
    """The trials of one kernel, those of earlier runs included; yields how many there are."""
    extents, machine = tiled.extents, machine_of(target)
    assert extents is not None
    known = {t.blocking: 1 / t.speedup for t in tuning.database.trials(tiled.description, tuning.place)}
    yield len(known)
    default = choose_blocking(extents, machine)
    reference: Candidate | None = None
    while len(known) < tuning.trials:
        blocking = propose(extents, machine, known, tuning.trials)
        if blocking is None:
            return
        reference = reference or build(tiled, default, target)
        other = reference if blocking == default else build(tiled, blocking, target)
        seconds, speedup = compare(reference, other)
        trial = Trial(blocking, seconds, 1.0 if blocking == default else speedup)
        tuning.database.add(tiled.description, tuning.place, trial)
        known[blocking] = 1 / trial.speedup
        yield len(known)
