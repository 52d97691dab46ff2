"""The result of a search: every configuration with its memory and loss, the frontier, baselines; JSON, CSV, text."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from byoc.errors import UsageError
from byoc.pareto.configuration import Configuration
from byoc.text_table import bytes_text, table

FORMAT = 1


@dataclass(frozen=True)
class Report:
    """Plain values, so that what is read from JSON is what was written.

    Attributes
    ----------
    model, context: what was searched for.  tasks: (name, options in words), in order.
    rows: one for each configuration: see `row_of` in ``run.py``; by memory.
    baselines: bytes by name ("eager", "tiled", "tiled, chunked").
    longer: modelled totals for other contexts: (context, {configuration or baseline: bytes}).
    sensitivity: per mixed precision the losses by layer.
    refused: configurations that could not be compiled, with the reason.
    left_out: why some of the space does not fit the model, with the number of configurations.
    effects: what each value of an axis changes against another one, all else being equal: see `Effect`.
    """

    model: str
    context: int
    reference: dict[str, Any]
    tasks: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    baselines: dict[str, dict[str, int]]
    longer: list[dict[str, Any]] = field(default_factory=list)
    sensitivity: list[dict[str, Any]] = field(default_factory=list)
    refused: list[dict[str, Any]] = field(default_factory=list)
    effects: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[dict[str, Any]] = field(default_factory=list)

    @property
    def frontier(self) -> list[dict[str, Any]]:
        """Rows on the frontier, by memory."""
        return [row for row in self.rows if row["frontier"]]

    def left_out_lines(self) -> list[str]:
        """How many configurations do not fit the model, and why."""
        counts = [(left["count"], left["reason"]) for left in self.left_out]
        return [f"{n} configuration{'s' * (n > 1)}: {reason}" for n, reason in counts]

    def to_json(self) -> str:
        return json.dumps({"pareto": FORMAT, **vars(self)}, indent=1) + "\n"

    @classmethod
    def read(cls, path: Path) -> Report:
        """From a file.  Raises :class:`UsageError`."""
        try:
            values = json.loads(path.read_text("utf-8"))
            if values.pop("pareto") != FORMAT:
                raise ValueError("it is of another version")
            return cls(**values)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"{path} is no report of byoc pareto", str(error), "write one with byoc pareto --save-report FILE"
            ) from None

    def to_csv(self) -> str:
        """One line for each configuration."""
        out = io.StringIO()
        names = [task["name"] for task in self.tasks]
        writer = csv.writer(out, lineterminator="\n")
        columns = ["kv", "weights", "chunk", "frontier", "total", "weight_bytes", "cache_bytes", "activation_bytes"]
        columns += ["loss", "loss_low", "loss_high", *names, "part", "resident", "prefill_rate", "decode_rate"]
        writer.writerow(columns)
        for row in self.rows:
            memory, loss = row["memory"], row["loss"]
            made = [row["kv"], row["weights"], row["chunk"], int(row["frontier"]), memory["total"], memory["weights"]]
            made += [memory["cache"], memory["activations"], *(f"{loss[k]:.4f}" for k in ("value", "low", "high"))]
            made += [f"{row['scores'][n]['value']:.6g}" for n in names]
            measured: Mapping[str, Any] = row.get("resident") or {}
            rates = [f"{measured[k]:.1f}" if measured else "" for k in ("prefill_rate", "decode_rate")]
            writer.writerow([*made, row["part"], measured.get("peak", ""), *rates])
        return out.getvalue()

    def text(self, model: str) -> str:
        """The frontier for a terminal."""
        head = ["kv", "weights", "chunk", "memory", "of eager", "of tiled", "loss %", "95%"]
        rows = []
        for row in self.frontier:
            total, loss = row["memory"]["total"], row["loss"]
            shares = [f"{100 * total / self.baselines[n]['total']:.1f}%" for n in ("eager", "tiled")]
            interval = f"{loss['low']:.2f} to {loss['high']:.2f}"
            made = [row["kv"], row["weights"], row["chunk"] or "all", bytes_text(total), *shares]
            rows.append([*made, f"{loss['value']:.2f}", interval])
        counted = f"{len(self.rows)} configurations, {len(self.frontier)} on the frontier, context {self.context}"
        lines = [counted, table(head, rows, "llrrrrrr")]
        for row in self.frontier:
            command = Configuration.from_dict(row).command(model, self.context)
            lines.append(f"for {bytes_text(row['memory']['total'])}: {command}")
        lines += [f"left out, {line}" for line in self.left_out_lines()]
        if self.refused:
            lines.append(f"{len(self.refused)} could not be compiled, such as {self.refused[0]['kv']}: "
                         f"{self.refused[0]['error'].splitlines()[0]}")  # fmt: skip
        return "\n".join(lines)


def recommend(report: Report, budget: int) -> dict[str, Any]:
    """The row of the frontier with the least loss within so many bytes.  Raises :class:`UsageError` where none fits."""
    fitting = [row for row in report.frontier if row["memory"]["total"] <= budget]
    if not fitting:
        least = min((row["memory"]["total"] for row in report.frontier), default=0)
        raise UsageError(
            f"no configuration of {report.model} fits in {bytes_text(budget)}",
            f"the smallest on the frontier takes {bytes_text(least)} at a context of {report.context}",
            "raise the budget, or search again with a smaller context",
        )
    return fitting[-1]


_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def parse_bytes(text: str) -> int:
    """From ``"512MB"``, ``"1.5 GiB"``.  Raises :class:`UsageError`."""
    number = text.strip().rstrip("BbKkMmGgIi ")
    unit = text.strip()[len(number) :].strip().upper()
    try:
        value = float(number) * _UNITS[unit]
    except (ValueError, KeyError):
        raise UsageError(f'"{text}" is no number of bytes', "", "write 512MB, or 1.5GiB") from None
    if not 0 < value < 2**60:
        raise UsageError(f'"{text}" is no number of bytes that a model may take', "", "write 512MB, or 1.5GiB")
    return int(value)


def heat_map(cells: Sequence[tuple[str, str]], pairs: Sequence[Sequence[float]]) -> list[dict[str, Any]]:
    """Score by cell, in the order of rows and columns as numbers."""
    sums: dict[tuple[str, str], list[float]] = {}
    for cell, (total, weight) in zip(cells, pairs, strict=False):
        entry = sums.setdefault((cell[0], cell[1]), [0.0, 0.0])
        entry[0] += total
        entry[1] += weight

    def order(cell: tuple[str, str]) -> tuple[Any, ...]:
        return tuple((int("".join(c for c in part if c.isdigit()) or 0), part) for part in cell)

    return [{"row": r, "column": c, "score": sums[r, c][0] / sums[r, c][1]} for r, c in sorted(sums, key=order)]
