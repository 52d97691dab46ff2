"""Trials in an SQLite file, so that nothing that was measured is measured again."""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from byoc.compat import TVM_VERSION
from byoc.errors import UsageError
from byoc.host.tiling import Blocking

# Raise it when kernels come out otherwise for the same blocking: what older ones took says nothing any more.
KERNELS_VERSION = 1

# A choice must be this much faster than the default to be preferred to it: less is within the noise.
_LEAST_SPEEDUP = 1.03

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tuning_trials (
    workload TEXT NOT NULL, place TEXT NOT NULL, blocking TEXT NOT NULL, description TEXT NOT NULL,
    seconds REAL NOT NULL, speedup REAL NOT NULL, PRIMARY KEY (workload, place, blocking)
)
"""


@dataclass(frozen=True)
class Place:
    """Where times hold: a CPU as LLVM names it, a number of threads, and the wheel that compiled the kernels."""

    cpu: str
    threads: int
    tvm: str = TVM_VERSION

    @property
    def key(self) -> str:
        return f"{self.cpu}, {self.threads} threads, tvm {self.tvm}, kernels {KERNELS_VERSION}"


@dataclass(frozen=True)
class Trial:
    """A kernel with one blocking: seconds of a call, and how often as fast it is as the default blocking.

    The two are timed in turns, so that `speedup` holds on a machine that is not quiet.
    """

    blocking: Blocking
    seconds: float
    speedup: float


class Database:
    """Trials by kernel and place; every one is on disk when :meth:`add` returns.

    Any number of processes may use one file.  `create`: make a file that does not exist.

    Raises
    ------
    UsageError: the file does not exist, or is no database; the methods raise it where a damaged file shows that later.
    """

    def __init__(self, path: str | Path, create: bool = False) -> None:
        self.path = Path(path)
        if not create and not self.path.is_file():
            raise UsageError(f"the tuning database {path} does not exist", "", "make one with --tune N --tune-db FILE")
        try:
            self._database = sqlite3.connect(self.path, timeout=60, isolation_level=None)
        except sqlite3.Error as error:
            raise self._unusable(error) from None
        if create:
            self._execute(_SCHEMA)
        self._execute("SELECT workload, place, blocking, description, seconds, speedup FROM tuning_trials LIMIT 1")

    def trials(self, description: str, place: Place) -> list[Trial]:
        """All trials of a kernel, in the order of their blockings' texts."""
        rows = self._execute(
            "SELECT blocking, seconds, speedup FROM tuning_trials WHERE workload = ? AND place = ? ORDER BY blocking",
            (workload_hash(description), place.key),
        )
        try:
            return [_trial_of(*row) for row in rows]
        except (TypeError, ValueError) as error:
            raise self._unusable(error) from None

    def add(self, description: str, place: Place, trial: Trial) -> None:
        """Keep a trial; a trial of the same blocking by another process stays as it is."""
        self._execute(
            "INSERT OR IGNORE INTO tuning_trials VALUES (?, ?, ?, ?, ?, ?)",
            (
                workload_hash(description),
                place.key,
                json.dumps(asdict(trial.blocking), sort_keys=True),
                description,
                trial.seconds,
                trial.speedup,
            ),
        )

    def best(self, description: str, place: Place) -> Trial | None:
        """The fastest trial, or None if there is none that is clearly faster than the default."""
        trials = [t for t in self.trials(description, place) if t.speedup >= _LEAST_SPEEDUP]
        return max(trials, key=lambda t: t.speedup, default=None)

    def digest(self, place: Place) -> str:
        """Of all choices for a place: equal digests, equal kernels."""
        rows = self._execute(
            "SELECT workload, blocking, speedup FROM tuning_trials WHERE place = ? AND speedup >= ? "
            "ORDER BY workload, blocking",
            (place.key, _LEAST_SPEEDUP),
        )
        return hashlib.sha256(json.dumps(rows, default=repr).encode()).hexdigest()

    def _execute(self, command: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._database.execute(command, values).fetchall()
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def _unusable(self, error: Exception) -> UsageError:
        return UsageError(f"{self.path} is no tuning database", str(error), "name another file with --tune-db")

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _trial_of(blocking: str, seconds: float, speedup: float) -> Trial:
    """A row as it was kept.  Raises TypeError and ValueError for anything else."""
    numbers = json.loads(blocking)
    positive = isinstance(numbers, dict) and all(type(n) is int and n > 0 for n in numbers.values())
    if not positive or not 0 < speedup < math.inf:
        raise ValueError(f"{blocking} at {speedup} times the speed is no trial")
    return Trial(Blocking(**numbers), seconds, speedup)


def workload_hash(description: str) -> str:
    """The key of a kernel."""
    return hashlib.sha256(description.encode()).hexdigest()
