"""The benchmark's arithmetic: how runners are written, ratios, means."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.zoo.__main__ import main
from benchmarks.zoo.report import Report, ratio, ratios
from benchmarks.zoo.rounds import Row
from benchmarks.zoo.spec import parse


def row(model: str, runner: str, *rounds_ms: float, error: str = "") -> Row:
    median = sorted(rounds_ms)[len(rounds_ms) // 2] if rounds_ms else None
    return Row(model, runner, 1, 2, error=error, median_ms=median, rounds_ms=rounds_ms)


def test_a_runner_is_codegens_with_options_and_a_policy() -> None:
    runner = parse("dnnl:precision=bf16+csource@cost")
    assert runner.targets == ("dnnl", "csource")
    assert runner.options == {"dnnl": {"precision": "bf16"}}
    assert runner.policy == "cost"
    assert not runner.foreign
    assert parse("onnxruntime").foreign


@pytest.mark.parametrize("text", ["", "dnnl+", "dnnl:bf16", "onnxruntime+csource"])
def test_what_is_no_runner_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no runner|mixes"):
        parse(text)


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    ours, theirs = row("m", "csource", 1.0, 2.0, 4.0), row("m", "onnxruntime", 2.0, 6.0, 8.0)
    assert ratio(ours, theirs) == 2.0


def test_a_runner_that_failed_has_no_ratio() -> None:
    rows = [row("m", "csource", error="died of SIGSEGV"), row("m", "onnxruntime", 2.0)]
    assert ratios(rows, "csource", "onnxruntime") == {}


def test_the_report_names_the_mean_the_worst_model_and_what_failed() -> None:
    rows = [
        row("a", "onnxruntime", 8.0),
        row("a", "csource", 1.0),
        row("b", "onnxruntime", 2.0),
        row("b", "csource", 1.0),
        row("b", "host", error="died of SIGSEGV"),
    ]
    text = Report({"processor": "P"}, tuple(rows)).text()
    assert "csource over onnxruntime: geometric mean 4.00 of 2 models, least 2.00 (b)" in text
    assert "b, host: died of SIGSEGV" in text


def test_the_slowdown_beside_a_busy_process_is_told_by_mean_and_by_median() -> None:
    rows = [replace(row("m", "csource", 2.0), mean_ms=4.0, busy_ms=3.0, busy_mean_ms=10.0)]
    lines = Report({"processor": "P"}, tuple(rows)).text().splitlines()
    header, _, cells = lines[(top := next(i for i, line in enumerate(lines) if line.startswith("model"))) : top + 3]
    assert header.split() == ["model", "runner", "ms", "busy", "busy", "median"]
    assert cells.split() == ["m", "csource", "2.00", "2.50", "1.50"]


def test_a_report_survives_its_file_and_takes_new_rows_for_old(tmp_path: Path) -> None:
    report = Report({"processor": "P"}, (row("a", "csource", 1.0, 2.0, 3.0), row("b", "csource", 5.0)))
    report.write(tmp_path / "zoo.json")
    assert Report.read(tmp_path / "zoo.json") == report
    assert report.with_rows([row("a", "csource", 4.0)]).rows == (row("b", "csource", 5.0), row("a", "csource", 4.0))


@pytest.mark.parametrize(
    ("model", "runner", "error", "counts"),
    [
        ("a", "dnnl", 1e-4, True),
        ("a", "dnnl:winograd=off+csource", 1.1e-4, False),
        ("a", "dnnl", float("nan"), False),
        ("a", "dnnl:precision=bf16", 1e-2, True),
        ("a.int8", "dnnl", 1e-2, True),
        ("a", "openvino", 1e-2, True),
    ],
)
def test_float32_that_differs_from_onnx_runtime_by_more_than_1e_4_fails_the_benchmark(
    model, runner, error, counts, tmp_path, monkeypatch, capsys
) -> None:
    rows = (row(model, "onnxruntime", 1.0), replace(row(model, runner, 1.0), relative_error=error))
    Report({"processor": "P"}, rows).write(tmp_path / "zoo.json")
    monkeypatch.setattr(sys, "argv", ["zoo", "--show", str(tmp_path / "zoo.json")])
    assert main() == (0 if counts else 1)
    assert counts or f"{model}, {runner}: its results are off by {error:.1e}" in capsys.readouterr().out


def test_a_target_that_failed_fails_the_benchmark_and_a_rival_does_not() -> None:
    rows = [row("a", "onnxruntime", error="died"), row("a", "host", error="died"), row("a", "dnnl", 1.0)]
    assert [r.runner for r in Report({}, tuple(rows)).failures()] == ["host"]
