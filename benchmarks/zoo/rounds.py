"""Measure runners of one model in alternating rounds: A B C, A B C, ..."""

from __future__ import annotations

import math
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np

from benchmarks.zoo.busy import busy_neighbour
from benchmarks.zoo.compile_artifact import artifact_file
from benchmarks.zoo.memory import counting_library
from benchmarks.zoo.models import inputs_of, model_file
from benchmarks.zoo.process import Worker, WorkerError
from benchmarks.zoo.quantised import float_name
from benchmarks.zoo.round_trip import round_trip_ns
from benchmarks.zoo.spec import Runner
from byoc.difference import difference

REFERENCE = "onnxruntime"
SETTLE = 0.02  # seconds in which the threads of the previous runner stop spinning


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes
    ----------
    rounds: turns of each runner.
    turn_ms: milliseconds that one turn takes, about; it has at least `least_runs` runs.
    """

    rounds: int = 9
    turn_ms: float = 250.0
    least_runs: int = 3


@dataclass(frozen=True)
class Row:
    """One runner on one model.  Times are milliseconds per run unless the name says seconds.

    Attributes
    ----------
    rounds_ms: median of each round, in the order in which they were measured.
    mean_ms: mean of all runs: what a row of runs takes, rare long ones included.
    busy_ms: median with a busy neighbour.
    busy_mean_ms: mean with a busy neighbour.
    relative_error: largest difference from ONNX Runtime over the largest magnitude of the output.
    estimate_ms: what the cost model expects of the plan.
    own_allocations: of `allocations`, those that the artifact's code asked for, not a vendor's library or Python.
    round_trip_ns: from one processor to another and back, the longer of before and after all rounds.
    """

    model: str
    runner: str
    batch: int
    threads: int
    error: str = ""
    median_ms: float | None = None
    rounds_ms: tuple[float, ...] = ()
    mean_ms: float | None = None
    busy_ms: float | None = None
    busy_mean_ms: float | None = None
    floor_ms: float | None = None
    relative_error: float | None = None
    load_s: float | None = None
    compile_s: float | None = None
    faults: float | None = None
    allocations: float | None = None
    allocated_bytes: float | None = None
    own_allocations: float | None = None
    summary: str = ""
    estimate_ms: float | None = None
    round_trip_ns: float | None = None

    @property
    def key(self) -> tuple[str, str, int, int]:
        return self.model, self.runner, self.batch, self.threads

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class _Turns:
    """Milliseconds of a runner's turns: the median and the mean of each."""

    medians: list[float] = field(default_factory=list)
    means: list[float] = field(default_factory=list)

    def add(self, times: list[float]) -> None:
        self.medians.append(median(times))
        self.means.append(fmean(times))


@dataclass
class _Running:
    """A runner under way; `row` collects its results, and an error ends it."""

    runner: Runner
    row: dict[str, Any]
    worker: Worker | None = None
    runs: int = 1
    alone: _Turns = field(default_factory=_Turns)
    busy: _Turns = field(default_factory=_Turns)
    outputs: Path | None = None

    @property
    def alive(self) -> bool:
        return self.worker is not None and "error" not in self.row

    def ask(self, **request: Any) -> dict[str, Any] | None:
        """The answer, or None if the worker failed, which is then its row's error."""
        if not self.alive or self.worker is None:
            return None
        try:
            return self.worker.ask(**request)
        except WorkerError as error:
            self.row["error"] = str(error)
            return None


def measure(
    folder: Path, model: str, runners: list[Runner], batch: int, threads: int, effort: Effort, busy: str = ""
) -> list[Row]:
    """One row for each runner; what failed has its error in it.

    `busy`: after every round, another one beside a neighbour of this kind (:data:`benchmarks.zoo.busy.KINDS`).
    """
    path = model_file(folder / "models", model, batch)
    all_running = [_Running(r, {"model": model, "runner": r.text, "batch": batch, "threads": threads}) for r in runners]
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        np.savez(scratch / "inputs.npz", **inputs_of(path))  # type: ignore[arg-type]
        for running in all_running:
            own = model_file(folder / "models", float_name(model), batch) if running.runner.of_float else path
            _start(stack, running, folder, own, scratch / "inputs.npz", threads)
        for index, running in enumerate(all_running):
            _first_look(running, scratch / f"{index}.npz", effort)
        trips = [round_trip_ns(folder)]
        for _ in range(effort.rounds):
            for running in all_running:
                _turn(running, running.alone)
            if busy:
                with busy_neighbour(busy):
                    for running in all_running:
                        _turn(running, running.busy)
        trips.append(round_trip_ns(folder))
        for running in all_running:
            _last_look(running, effort)
            running.row["round_trip_ns"] = max((t for t in trips if t is not None), default=None)
        _compare(all_running)
    return [Row(**running.row) for running in all_running]


def _start(stack: ExitStack, running: _Running, folder: Path, model: Path, inputs: Path, threads: int) -> None:
    file = model
    try:
        if not running.runner.foreign:
            file, record = artifact_file(folder / "artifacts", running.runner, model)
            running.row |= record
        worker = Worker(running.runner.text, file, inputs, threads, counting_library(folder))
        running.worker = stack.enter_context(worker)
        running.row["load_s"] = worker.first_answer()["load_s"]
    except (RuntimeError, WorkerError) as error:
        running.row["error"] = str(error)


def _first_look(running: _Running, outputs: Path, effort: Effort) -> None:
    """Save the outputs, warm up, and choose how many runs fill a turn."""
    if running.ask(do="outputs", path=str(outputs)) is not None:
        running.outputs = outputs
    time.sleep(SETTLE)
    answer = running.ask(do="time", warm=2, runs=7)
    if answer is not None:
        running.runs = max(effort.least_runs, math.ceil(effort.turn_ms / median(answer["ms"])))


def _turn(running: _Running, turns: _Turns) -> None:
    time.sleep(SETTLE)
    answer = running.ask(do="time", warm=1, runs=running.runs)
    if answer is not None:
        turns.add(answer["ms"])


def _last_look(running: _Running, effort: Effort) -> None:
    """Memory, the floor, and the medians of all rounds."""
    running.row |= running.ask(do="memory", runs=10) or {}
    floor = running.ask(do="floor", repeats=2 * effort.rounds)
    running.row["floor_ms"] = floor["ms"] if floor else None
    running.row["rounds_ms"] = tuple(running.alone.medians)
    if running.alive:
        running.row |= {"median_ms": median(running.alone.medians), "mean_ms": fmean(running.alone.means)}
    if running.alive and running.busy.means:
        running.row |= {"busy_ms": median(running.busy.medians), "busy_mean_ms": fmean(running.busy.means)}


def _compare(all_running: list[_Running]) -> None:
    """The largest relative error over all outputs, against the reference's on the same inputs."""
    reference = next((r.outputs for r in all_running if r.runner.text == REFERENCE and r.outputs), None)
    if reference is None:
        return
    with np.load(reference) as wanted:
        for running in all_running:
            if running.outputs is not None and running.outputs != reference:
                with np.load(running.outputs) as got:
                    errors = [difference(n, got[n], wanted[n]).max_rel for n in wanted.files]
                    running.row["relative_error"] = max(errors)
