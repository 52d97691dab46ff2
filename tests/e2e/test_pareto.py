"""``byoc pareto`` on a small model: killed and resumed, on workers that die, and what compile makes of its report."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
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
    study = replace(study_in(folder), cache_dir=str(folder / "cache of workers"))
    with DaskWorkers("local", 2) as workers:
        victim, killed = workers.processes[0], []

        def kill_after_the_first(stage: str, done: int, total: int) -> None:
            if done and not killed:
                os.kill(victim, signal.SIGKILL)
                killed.append(f"{stage} {done} of {total}")

        found = search(study, SPACE, EFFORT, folder / "workers.db", workers, kill_after_the_first)
        assert killed == ["first look 1 of 4"] and victim not in workers.processes
    assert found.to_json() == report.to_json()


@contextlib.contextmanager
def dask_cluster(folder: Path, count: int) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """The address of a scheduler, and its workers, each a process of its own that nobody starts again."""
    facts, log = folder / "scheduler.json", (folder / "dask.log").open("wb")
    python, quiet = [sys.executable, "-m"], ["--no-dashboard", "--scheduler-file", str(facts)]
    started: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> None:
        started.append(subprocess.Popen([*python, *command, *quiet], stdout=log, stderr=log, cwd=folder))

    try:
        start("distributed.cli.dask_scheduler", "--port", "0", "--host", "127.0.0.1")
        wait_until(lambda: facts.is_file() and facts.read_text().endswith("}"))
        for _ in range(count):
            start("distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny", "--local-directory", str(folder))
        yield json.loads(facts.read_text())["address"], started[1:]
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()
        log.close()


def wait_until(true: Callable[[], bool], seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_nsga2_on_a_dask_scheduler_that_loses_a_worker_finds_what_one_process_finds(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("distributed")
    (tmp_path / "space.yaml").write_text(
        "bits: [k16v16, k8v8, k4v4, k4v2]\ngroup: [4, 8]\nweights: f32\nchunk: 16\n"
        "reference: {kv: k16v16, weights: f32, chunk: 16}\n"
        f"tasks: {{recall: {{file: {folder / 'eval.npz'}}}}}\n"
    )

    def command(name: str) -> list[str]:
        flags = ["--space", str(tmp_path / "space.yaml"), "--context", "32", "--exhaustive", "0", "--trials", "20"]
        files = ["--db", str(tmp_path / f"{name}.db"), "--save-report", str(tmp_path / f"{name}.json")]
        return ["pareto", str(folder / "tiny"), *flags, *files, "--cache-dir", str(tmp_path / "cache"), "--no-resident"]

    with dask_cluster(tmp_path, 2) as (address, workers):
        search_process = subprocess.Popen(
            [sys.executable, "-m", "byoc", *command("cluster"), "--scheduler", address],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        wait_until(lambda: trials_in(tmp_path / "cluster.db") > 1 or search_process.poll() is not None)
        workers[0].kill()
        _, told = search_process.communicate(timeout=600)
        assert search_process.returncode == 0, told
        assert workers[1].poll() is None
    assert main(command("alone")) == 0, capsys.readouterr().err
    found = (tmp_path / "cluster.json").read_text()
    assert found == (tmp_path / "alone.json").read_text() and len(json.loads(found)["rows"]) > 4


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
        [sys.executable, "-m", "byoc", *command_in(folder, name)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # where the tests run in the background
    )  # fmt: skip
    wait_until(lambda: trials_in(folder / name) >= 2 or process.poll() is not None)
    process.send_signal(sign)
    _, told = process.communicate(timeout=300)
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
    assert f"report.json recommends {best['kv']} f32 chunk 16: " in capsys.readouterr().err
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


def test_what_is_no_folder_of_a_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.onnx").touch()
    assert main(["pareto", str(tmp_path / "model.onnx"), "--text", "corpus.txt"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"[BYOC-100] {tmp_path / 'model.onnx'} is no folder of a language model",
        "  why: weights and caches are compiled in many ways, from config.json and safetensors",
        "  do:  name a folder in the layout of Hugging Face; byoc compile --kv takes an ONNX model as it is",
    ]


def test_groups_that_do_not_divide_a_head_are_left_out_and_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "space.toml").write_text(
        'bits = ["k16v16", "k8v8"]\ngroup = [8, 32]\nweights = "f32"\nchunk = 16\n'
        'reference = { kv = "k16v16", weights = "f32", chunk = 16 }\n'
    )
    flags = ["--space", str(tmp_path / "space.toml"), "--task", f"recall:file={folder / 'eval.npz'}", "--context", "32"]
    files = ["--db", str(tmp_path / "trials.db"), "-o", str(tmp_path / "page.html"), "--no-resident"]
    assert main(["pareto", str(folder / "tiny"), *flags, *files, "--cache-dir", str(folder / "cache")]) == 0
    why = "keys cannot be kept in groups of 32: a head has 8 channels"
    assert f"left out, 1 configuration: {why}" in capsys.readouterr().out
    assert f"<h2>Not measured</h2><ul><li>1 configuration: {why}</li></ul>" in (tmp_path / "page.html").read_text()
