"""Tuning the host's kernels: what is measured, kept, chosen and refused."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import onnx
import pytest

import byoc
from byoc.cli import main
from byoc.cli.exit_codes import INTERRUPTED
from byoc.errors import UsageError
from byoc.host.tiling import Blocking
from byoc.tune import Database, Place, Trial, run
from tests.imported import make_model, node


@pytest.fixture
def model() -> onnx.ModelProto:
    """A convolution with a ReLU, then two products of one shape and one of another."""
    rng = np.random.default_rng(0)

    def weight(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype("float32") / 4

    nodes = [
        node("Conv", "x w", "c", pads=[1, 1, 1, 1]),
        node("Relu", "c", "r"),
        node("MatMul", "r a", "p"),
        node("MatMul", "p b", "q"),
        node("MatMul", "q d", "y"),
    ]
    weights = {"w": weight(24, 8, 3, 3), "a": weight(12, 12), "b": weight(12, 12), "d": weight(12, 40)}
    return make_model(nodes, {"x": ("float32", [1, 8, 12, 12])}, weights=weights)


def trials_of(file: Path) -> list[tuple[str, float]]:
    with sqlite3.connect(file) as database:
        return list(database.execute("SELECT description, speedup FROM tuning_trials ORDER BY rowid"))


def result_of(artifact: byoc.Artifact) -> np.ndarray:
    x = np.random.default_rng(1).standard_normal((1, 8, 12, 12)).astype("float32")
    with artifact.session() as session:
        return np.array(session.run({"x": x})["y"])


def test_equal_kernels_are_measured_once_and_the_model_computes_the_same(
    model: onnx.ModelProto, tmp_path: Path
) -> None:
    plain = byoc.compile(model, use_cache=False)
    tuned = byoc.compile(model, tune=3, tune_db=tmp_path / "t.db", use_cache=False)
    counts = {d: [x for x, _ in trials_of(tmp_path / "t.db")].count(d) for d, _ in trials_of(tmp_path / "t.db")}
    assert counts == {
        "conv2d float32[1,14,14,8] float32[24,8,3,3] strides 1,1 dilation 1,1 groups 1; nn.relu(sums)": 3,
        "matmul float32[1,24,12,12] constant float32[12,12]": 3,
        "matmul float32[1,24,12,12] constant float32[12,40]": 3,
    }
    np.testing.assert_allclose(result_of(tuned), result_of(plain), rtol=0, atol=1e-5)


def test_a_second_search_measures_only_what_is_missing(model: onnx.ModelProto, tmp_path: Path) -> None:
    byoc.compile(model, tune=2, tune_db=tmp_path / "t.db", use_cache=False)
    first = trials_of(tmp_path / "t.db")
    byoc.compile(model, tune=2, tune_db=tmp_path / "t.db", use_cache=False)
    assert trials_of(tmp_path / "t.db") == first
    byoc.compile(model, tune=3, tune_db=tmp_path / "t.db", use_cache=False)
    assert trials_of(tmp_path / "t.db")[: len(first)] == first
    assert len(trials_of(tmp_path / "t.db")) == len(first) + 3


def test_an_interrupted_search_keeps_what_it_measured(
    model: onnx.ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def interrupted(default: object, other: object) -> tuple[float, float]:
        measured.append(other)
        if len(measured) == 3:
            raise KeyboardInterrupt
        return 1e-6, 1.0

    monkeypatch.setattr(run, "compare", interrupted)
    with pytest.raises(KeyboardInterrupt):
        byoc.compile(model, tune=4, tune_db=tmp_path / "t.db", use_cache=False)
    assert len(trials_of(tmp_path / "t.db")) == 2


def test_a_database_gives_the_same_artifact_every_time_and_another_one_than_without(
    model: onnx.ModelProto, tmp_path: Path
) -> None:
    kernel = "matmul float32[1,24,12,12] constant float32[12,40]"
    with Database(tmp_path / "t.db", create=True) as database:
        database.add(kernel, place_of_this_machine(), Trial(Blocking(3, 8, tasks=4), 1e-6, 1.5))
    files = []
    for number, database_file in enumerate((tmp_path / "t.db", tmp_path / "t.db", None)):
        artifact = byoc.compile(model, tune_db=database_file, use_cache=False)
        artifact.save(tmp_path / f"{number}.byoc")
        files.append((tmp_path / f"{number}.byoc").read_bytes())
    assert files[0] == files[1] != files[2]


def test_the_compile_cache_tells_choices_apart(model: onnx.ModelProto, tmp_path: Path) -> None:
    kernel = "matmul float32[1,24,12,12] constant float32[12,40]"
    settings = {"cache_dir": tmp_path / "cache"}

    def library(**more: object) -> bytes:
        byoc.compile(model, **settings, **more).save(tmp_path / "m.byoc")
        return (tmp_path / "m.byoc").read_bytes()

    plain = library()
    with Database(tmp_path / "t.db", create=True) as database:
        assert library(tune_db=tmp_path / "t.db") == plain
        database.add(kernel, place_of_this_machine(), Trial(Blocking(3, 8, tasks=4), 1e-6, 1.5))
    tuned = library(tune_db=tmp_path / "t.db")
    assert tuned != plain
    assert library(tune_db=tmp_path / "t.db") == tuned


def place_of_this_machine() -> Place:
    from byoc.host.pipeline import host_target
    from byoc.runtime.threads import thread_count

    return Place(str(host_target("native").attrs["mcpu"]), thread_count(None))


def test_symbolic_sizes_are_not_measured(tmp_path: Path) -> None:
    weights = {"w": np.ones((16, 8), "float32")}
    symbolic = make_model([node("MatMul", "x w")], {"x": ("float32", ["n", 16])}, weights=weights)
    byoc.compile(symbolic, tune=2, tune_db=tmp_path / "t.db", use_cache=False)
    assert trials_of(tmp_path / "t.db") == []


def test_another_processor_cannot_be_tuned_for(model: onnx.ModelProto, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="kernels for nehalem cannot be tuned on this machine"):
        byoc.compile(model, tune=1, tune_db=tmp_path / "t.db", mcpu="nehalem", use_cache=False)


def test_a_missing_file_and_one_that_is_no_database_are_refused(model: onnx.ModelProto, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the tuning database .*absent\.db does not exist"):
        byoc.compile(model, tune_db=tmp_path / "absent.db")
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UsageError, match=r"model\.onnx is no tuning database"):
        byoc.compile(model, tune=1, tune_db=tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == model.SerializeToString()
    with pytest.raises(UsageError, match="needs a database"):
        byoc.compile(model, tune=1)


def on_command_line(model: onnx.ModelProto, folder: Path) -> list[str]:
    onnx.save(model, folder / "m.onnx")
    return ["compile", str(folder / "m.onnx"), "--target", "host", "-o", str(folder / "m.byoc"), "--no-cache"]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE tuning_trials SET blocking = '{\"rows\": 4'",
        'UPDATE tuning_trials SET blocking = \'{"rows": 0, "columns": 16}\'',
        "UPDATE tuning_trials SET blocking = '{\"lines\": 4}'",
        "UPDATE tuning_trials SET blocking = '[4]'",
        "UPDATE tuning_trials SET blocking = x'ff'",
        "UPDATE tuning_trials SET speedup = 0",
        "UPDATE tuning_trials SET speedup = 'twice'",
        "ALTER TABLE tuning_trials DROP COLUMN speedup",
    ],
)
def test_a_damaged_database_is_refused(damage: str, tmp_path: Path) -> None:
    file, place = tmp_path / "t.db", Place("a processor", 2)
    with Database(file, create=True) as database:
        database.add("a kernel", place, Trial(Blocking(4, 16), 1e-6, 1.2))
    with sqlite3.connect(file) as raw:
        raw.execute(damage)
    with pytest.raises(UsageError, match=r"t\.db is no tuning database"), Database(file) as database:
        database.best("a kernel", place)


def test_a_database_whose_pages_are_overwritten_is_refused(tmp_path: Path) -> None:
    file, place = tmp_path / "t.db", Place("a processor", 2)
    with Database(file, create=True) as database:
        for rows in range(1, 400):
            database.add("a kernel", place, Trial(Blocking(rows, 16), 1e-6, 1.2))
    whole = bytearray(file.read_bytes())
    whole[8192:] = b"\xa5" * (len(whole) - 8192)
    file.write_bytes(whole)
    with pytest.raises(UsageError, match="is no tuning database"), Database(file) as database:
        database.trials("a kernel", place)


def test_the_command_line_names_the_database_after_the_artifact(
    model: onnx.ModelProto, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*on_command_line(model, tmp_path), "--tune", "1"]) == 0
    assert f"wrote measurements {tmp_path / 'm.tuning.db'}\n" in capsys.readouterr().out
    assert len(trials_of(tmp_path / "m.tuning.db")) == 3


def test_the_command_line_says_where_an_interrupted_search_is_kept(
    model: onnx.ModelProto, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(default: object, other: object) -> tuple[float, float]:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "compare", interrupted)
    assert main([*on_command_line(model, tmp_path), "--tune", "2"]) == INTERRUPTED
    database = tmp_path / "m.tuning.db"
    assert f"what was measured is kept in {database}; the same command goes on from there\n" in capsys.readouterr().err
    assert not (tmp_path / "m.byoc").exists()
