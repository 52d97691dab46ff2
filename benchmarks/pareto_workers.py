"""How much sooner a search ends on two Dask workers than on one: ``python -m benchmarks.pareto_workers MODEL NPZ``.

Each worker runs one thread; every search compiles all configurations anew, in a cache of its own.  The rounds of one
worker and of two alternate.  What counts is the search; starting the processes is not in it.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from byoc.pareto.evaluate import Study, freeze
from byoc.pareto.run import Effort, search
from byoc.pareto.space import SearchSpace
from byoc.pareto.workers import DaskWorkers

SPACE = SearchSpace(bits=("k16v16", "k8v8", "k4v4", "k4v2", "k2v2"), weights=("f32", "rtn4:g32"))
ROUNDS = 2


def seconds(model: str, data: str, count: int) -> float:
    """Of one search."""
    tasks = (("recall", freeze({"file": data, "length": 1024})),)
    with tempfile.TemporaryDirectory() as folder, DaskWorkers("local", count) as workers:
        study = Study(model, tasks, 1024, threads=1, cache_dir=folder)
        begin = time.perf_counter()
        search(study, SPACE, Effort(parts=(1.0,), resident=False), Path(folder) / "db", workers, lambda *_: None)
        return time.perf_counter() - begin


def main(model: str, data: str) -> None:
    taken: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(ROUNDS):
        for count, times in taken.items():
            times.append(seconds(model, data, count))
            print(f"{count} workers: {times[-1]:.1f} s", flush=True)
    one, two = (statistics.median(taken[n]) for n in (1, 2))
    print(f"one {one:.1f} s, two {two:.1f} s: {one / two:.2f}x")


if __name__ == "__main__":
    main(*sys.argv[1:3])
