"""``byoc pareto`` on a small model: killed and resumed, on workers that die, and what compile makes of its report."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import byoc
from byoc.cli import main
from byoc.errors import UsageError
from byoc.llm.config import read_config
from byoc.llm.model import language_model
from byoc.pareto.configuration import Configuration
from byoc.pareto.evaluate import Study, freeze
from byoc.pareto.run import Effort, search
from byoc.pareto.space import SearchSpace
from byoc.pareto.workers import DaskWorkers, ThisProcess
from tests.language_models import make_folder

SPACE = SearchSpace(bits=("k16v16", "k8v8", "k4v4", "k2v2"), group=(8,), weights=("f32",), chunk=(16,),
                    reference=Configuration("k16v16", "f32", 16))  # fmt: skip
EFFORT = Effort(parts=(0.5, 1.0), resident=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pareto")
    make_folder(path / "tiny")
    random = np.random.default_rng(0)
    ids, answers = random.integers(0, 40, (8, 32)), np.zeros((8, 32), bool)
    answers[:, 8::4] = True
    np.savez(path / "eval.npz", ids_32=ids.astype(np.int16), answer_32=answers)
    return path


def study_in(folder: Path) -> Study:
    tasks = (("recall", freeze({"file": str(folder / "eval.npz")})),)
    return Study(str(folder / "tiny"), tasks, 32, cache_dir=str(folder / "cache"))


def silent(stage: str, done: int, total: int) -> None:
    pass


@pytest.fixture(scope="module")
def report(folder: Path):
    return search(study_in(folder), SPACE, EFFORT, folder / "first.db", ThisProcess(), silent)


def test_every_configuration_is_measured_on_its_artifact(report) -> None:
    totals = {row["kv"]: row["memory"] for row in report.rows}
    assert totals["k16v16"]["cache"] == 2 * 2 * 2 * 32 * 16  # layers, keys and values, heads, tokens, bytes of a token
    assert totals["k4v4:g8"]["cache"] == 2 * 2 * 2 * 32 * (4 + 2 + 2)
    assert all(row["memory"]["activations"] > 0 for row in report.rows)
    assert report.frontier and report.rows[-1]["kv"] == "k16v16" and report.rows[-1]["loss"]["value"] == 0


def test_a_second_search_finds_the_same(folder: Path, report) -> None:
    again = search(study_in(folder), SPACE, EFFORT, folder / "second.db", ThisProcess(), silent)
    assert again.to_json() == report.to_json()


@pytest.mark.slow
def test_what_a_calibration_text_chooses_is_searched_with_one(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "ids.npy", np.random.default_rng(1).integers(0, 40, 200))
    space = replace(SPACE, bits=("k8v8",), granularity=("per-tensor",), weights=("f16", "awq4:g8"))
    with pytest.raises(UsageError, match='"awq4:g8" cannot be searched without a calibration text'):
        search(study_in(folder), space, EFFORT, tmp_path / "none.db", ThisProcess(), silent)
    study = replace(study_in(folder), calibrate=str(tmp_path / "ids.npy"))
    found = search(study, space, replace(EFFORT, parts=(1.0,)), tmp_path / "trials.db", ThisProcess(), silent)
    assert found.refused == []
    memory = {f"{row['kv']} {row['weights']}": row["memory"] for row in found.rows}
    assert set(memory) == {"k16v16 f32", "k8v8:per-tensor f16", "k8v8:per-tensor awq4:g8"}
    assert memory["k8v8:per-tensor f16"]["cache"] == 2 * 2 * 2 * 32 * 8  # a byte for each number, no scales
    assert memory["k8v8:per-tensor f16"]["weights"] < 0.8 * memory["k16v16 f32"]["weights"]
    (tmp_path / "report.json").write_text(found.to_json())
    flags = ["--pareto", "report.json", "--budget", "1GB", "--calibrate", "ids.npy", "--dry-run"]
    flags = [str(tmp_path / f) if (tmp_path / f).is_file() else f for f in flags]
    assert main(["compile", str(folder / "tiny"), "-t", "csource", *flags]) == 0, capsys.readouterr().err


def test_layers_in_different_formats_are_one_partition(folder: Path) -> None:
    mixed = Configuration("k2v2:g8;1=k8v8:g8:hadamard", "f32", 16)
    model = language_model(folder / "tiny", mixed.settings(read_config(folder / "tiny"), 32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        artifact = byoc.compile(model, ["csource"], use_cache=False)
    assert len(artifact.manifest.partitions) == 3  # one for each entry function


@pytest.mark.slow
def test_a_lost_worker_costs_its_trial_only(folder: Path, report) -> None:
    pytest.importorskip("distributed")
    with DaskWorkers("local", 2) as workers:
        victim = workers.processes[0]
        timer = threading.Timer(1.0, os.kill, (victim, signal.SIGKILL))
        timer.start()
        study = study_in(folder)
        fresh = Study(study.folder, study.tasks, study.context, cache_dir=str(folder / "cache of workers"))
        found = search(fresh, SPACE, EFFORT, folder / "workers.db", workers, silent)
        timer.join()
        assert victim not in workers.processes
    assert found.to_json() == report.to_json()


def command_in(folder: Path, database: str) -> list[str]:
    space = folder / "space.toml"
    space.write_text(
        'bits = ["k16v16", "k8v8", "k4v4", "k2v2"]\ngroup = 8\nweights = "f32"\nchunk = 16\n'
        'reference = { kv = "k16v16", weights = "f32", chunk = 16 }\n'
    )
    task = f"recall:file={folder / 'eval.npz'}"
    return [
        "pareto", str(folder / "tiny"), "--space", str(space), "--task", task, "--context", "32", "--no-resident",
        "--db", str(folder / database), "--save-report", str(folder / f"{database}.json"),
        "--cache-dir", str(folder / f"cache of {database}"),
    ]  # fmt: skip


def trials_in(database: Path) -> int:
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
            return int(connection.execute("SELECT count(*) FROM trials").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_goes_on_from_what_was_finished(folder: Path, report, sign: signal.Signals) -> None:
    name = f"stopped {sign.name}.db"
    process = subprocess.Popen(
        [sys.executable, "-m", "byoc", *command_in(folder, name)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while trials_in(folder / name) < 2 and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.02)
    process.send_signal(sign)
    _, told = process.communicate(timeout=60)
    if sign == signal.SIGINT:
        assert process.returncode == 130 and b"the same command goes on from there" in told
    kept = trials_in(folder / name)
    assert 2 <= kept < 4 and not (folder / f"{name}.json").exists()
    assert main(command_in(folder, name)) == 0
    found = json.loads((folder / f"{name}.json").read_text())
    wanted = json.loads(report.to_json())
    keep = ("kv", "frontier", "memory")
    assert [[r[k] for k in keep] for r in found["rows"]] == [[r[k] for k in keep] for r in wanted["rows"]]


def test_compile_takes_what_a_report_recommends(folder: Path, report, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "report.json"
    path.write_text(report.to_json())
    output = folder / "small.byoc"
    arguments = ["compile", str(folder / "tiny"), "-t", "csource", "--pareto", str(path), "-o", str(output)]
    assert main([*arguments, "--budget", "1GB"]) == 0
    best = report.frontier[-1]
    with byoc.load(output) as session:
        facts = session.manifest.language_model
        assert facts is not None and (facts["kv"], facts["context"]) == (best["kv"], 32)
    capsys.readouterr()
    assert main([*arguments, "--budget", "1KB"]) == 2
    assert "no configuration of tiny fits in 1000 B" in capsys.readouterr().err
    assert main([*arguments[:-2], "--budget", "1GB", "--kv", "k8v8"]) == 2
    assert "--pareto chooses --kv" in capsys.readouterr().err


def test_a_search_without_a_task_says_how_to_give_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pareto", str(folder / "tiny")]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "[BYOC-100] no task is given",
        "  why: accuracy is measured by tasks",
        "  do:  --text corpus.txt measures perplexity on a text",
    ]
