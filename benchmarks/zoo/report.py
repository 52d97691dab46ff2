"""Figures of a run: tables, ratios, geometric means, JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

from benchmarks.zoo.quantised import SUFFIX
from benchmarks.zoo.rounds import Row
from benchmarks.zoo.spec import FOREIGN, OF_FLOAT, parse
from byoc.text_table import table

PACKAGES = ("byoc", "apache-tvm", "onnx", "onnxruntime", "openvino", "onednn-cpu-gomp")
HEADERS = (
    "model", "runner", "ms", *(f"/{name}" for name in FOREIGN), "/float", "floor ms", "/floor", "error", "busy",
    "busy median", "compile s", "load s", "allocs", "own", "KiB", "faults", "trip ns",
)  # fmt: skip

LARGEST_ERROR = 1e-4  # of float32 models in float32, relative to ONNX Runtime's largest magnitude


@dataclass(frozen=True)
class Report:
    """All rows of a run, and the machine they were measured on."""

    machine: dict[str, str]
    rows: tuple[Row, ...] = ()

    @classmethod
    def read(cls, path: Path) -> Report:
        content = json.loads(path.read_text())
        rows = [Row(**{**row, "rounds_ms": tuple(row["rounds_ms"])}) for row in content["rows"]]
        return cls(content["machine"], tuple(rows))

    def write(self, path: Path) -> None:
        content = {"machine": self.machine, "rows": [row.to_dict() for row in self.rows]}
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.write_text(json.dumps(content, indent=1) + "\n")
        os.replace(partial, path)

    def with_rows(self, rows: Sequence[Row]) -> Report:
        """Rows of the same model, runner, batch and threads are replaced."""
        new = {row.key for row in rows}
        return replace(self, rows=(*(row for row in self.rows if row.key not in new), *rows))

    def settings(self) -> list[tuple[int, int]]:
        """(threads, batch) of all rows, in the order in which they were measured."""
        return list(dict.fromkeys((row.threads, row.batch) for row in self.rows))

    def rows_of(self, threads: int, batch: int) -> list[Row]:
        """By model, in the order of measuring."""
        rows = [row for row in self.rows if (row.threads, row.batch) == (threads, batch)]
        models = list(dict.fromkeys(row.model for row in rows))
        return sorted(rows, key=lambda row: models.index(row.model))

    def failures(self) -> list[Row]:
        """Rows of byoc that failed or are not accurate."""
        return [row for row in self.rows if failure(row) and not parse(row.runner).foreign]

    def line(self, rows: Sequence[Row]) -> str:
        """One model's times, while others are still being measured."""
        times = [
            f"{r.runner} {r.median_ms:.2f} ms" if r.median_ms is not None else f"{r.runner} {r.error}" for r in rows
        ]
        return f"{rows[0].model}, batch {rows[0].batch}, threads {rows[0].threads}: {', '.join(times)}"

    def text(self) -> str:
        """A table for each number of threads and batch, with geometric means, and what failed."""
        parts = [", ".join(f"{name} {value}" for name, value in self.machine.items())]
        for threads, batch in self.settings():
            rows = self.rows_of(threads, batch)
            used = [h for i, h in enumerate(HEADERS) if any(_cells(row, rows)[i] for row in rows) or i < 3]
            cells = [[c for h, c in zip(HEADERS, _cells(row, rows), strict=True) if h in used] for row in rows]
            parts.append(f"{threads} thread{'s' * (threads > 1)}, batch {batch}\n")
            parts[-1] += table(used, cells, "ll" + "r" * (len(used) - 2))
            parts += [line for line in _means(rows) if line]
            parts += [f"{row.model}, {row.runner}: {reason}" for row in rows if (reason := failure(row))]
        parts.append(LEGEND)
        return "\n\n".join(parts)


LEGEND = (
    "/onnxruntime, /openvino: the rival's time over the runner's, median of the rounds' ratios (above 1: the runner is "
    "faster).  /float: likewise the float model's time by the same runner.  floor: the sum of the bare primitives.  "
    "error: largest difference from ONNX Runtime over the largest magnitude.  busy: slowdown beside a busy process, by "
    "the mean of all runs, which is what a row of them takes, and by the median.  load: to the first result.  allocs, "
    "KiB, faults: calls of the C allocator, memory asked of it and page faults in one run once warm, Python's own "
    "included.  own: of the calls, those of the artifact's code.  trip: from one processor to another and back; on a "
    "virtual machine it changes, and where it is long, threads gain less."
)


def failure(row: Row) -> str:
    """Why the row's figures do not count, or ``""``: it failed, or computes something else than ONNX Runtime."""
    if row.error:
        return row.error
    exact = parse(row.runner).is_float32 and not row.model.endswith(SUFFIX)
    if exact and row.relative_error is not None and not row.relative_error <= LARGEST_ERROR:
        return f"its results are off by {row.relative_error:.1e} of the largest one, more than {LARGEST_ERROR:.0e}"
    return ""


def ratio(row: Row, rival: Row) -> float | None:
    """The rival's time over the row's: above 1 means that the row is faster."""
    if row.median_ms is None or rival.median_ms is None:
        return None
    if len(row.rounds_ms) == len(rival.rounds_ms):
        return median(b / a for a, b in zip(row.rounds_ms, rival.rounds_ms, strict=True))
    return rival.median_ms / row.median_ms


def ratios(rows: Sequence[Row], runner: str, rival: str) -> dict[str, float]:
    """By model, where both ran."""
    by_key = {(row.model, row.runner): row for row in rows}
    found = {}
    for (model, name), row in by_key.items():
        other = by_key.get((model, rival))
        value = ratio(row, other) if name == runner and other is not None else None
        if value is not None:
            found[model] = value
    return found


def _means(rows: Sequence[Row]) -> list[str]:
    lines = []
    for runner in dict.fromkeys(row.runner for row in rows):
        for rival in (*FOREIGN, OF_FLOAT + runner):
            found = ratios(rows, runner, rival) if runner != rival else {}
            if found and not (runner in FOREIGN and rival != FOREIGN[0]):
                least = min(found, key=found.__getitem__)
                mean = geometric_mean(found.values())
                lines.append(
                    f"{runner} over {rival}: geometric mean {mean:.2f} of {len(found)} models, "
                    f"least {found[least]:.2f} ({least})"
                )
    return lines


def _cells(row: Row, rows: Sequence[Row]) -> list[str]:
    by_runner = {other.runner: other for other in rows if other.model == row.model}
    against = [ratio(row, by_runner[name]) if name in by_runner and row.runner != name else None for name in FOREIGN]
    original = OF_FLOAT + row.runner
    over_floor = row.median_ms / row.floor_ms if row.median_ms and row.floor_ms else None
    slowdown = row.busy_mean_ms / row.mean_ms if row.mean_ms and row.busy_mean_ms else None
    usual_slowdown = row.busy_ms / row.median_ms if row.median_ms and row.busy_ms else None
    return [
        row.model,
        row.runner,
        _number(row.median_ms) if not row.error else "failed",
        *(_number(value) for value in against),
        _number(ratio(row, by_runner[original])) if original in by_runner else "",
        _number(row.floor_ms),
        _number(over_floor),
        f"{row.relative_error:.1e}" if row.relative_error is not None else "",
        _number(slowdown),
        _number(usual_slowdown),
        _number(row.compile_s),
        _number(row.load_s),
        f"{row.allocations:.0f}" if row.allocations is not None else "",
        f"{row.own_allocations:.0f}" if row.own_allocations is not None else "",
        f"{row.allocated_bytes / 1024:.0f}" if row.allocated_bytes is not None else "",
        f"{row.faults:.0f}" if row.faults is not None else "",
        f"{row.round_trip_ns:.0f}" if row.round_trip_ns is not None else "",
    ]


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 20 else f"{value:.2f}"


def describe_machine() -> dict[str, str]:
    """Processor, cores, date, versions."""
    described: dict[str, Any] = {"processor": _processor(), "cores": len(os.sched_getaffinity(0))}
    for package in PACKAGES:
        try:
            described[package] = version(package)
        except PackageNotFoundError:
            continue
    described["date"] = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M")
    return {name: str(value) for name, value in described.items()}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
