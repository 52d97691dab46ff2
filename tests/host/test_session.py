"""Sessions: results, their life, and a process that has nothing but the runtime."""

from __future__ import annotations

import gc
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from tvm import relax

import byoc
from byoc.artifact import WeightStore
from byoc.errors import SessionError, UsageError
from byoc.runtime import Session, aligned_empty
from byoc.tensor_spec import TensorSpec
from tests.handmade import host_model, offset_model, offset_model_reference
from tests.session_inputs import numbers


@pytest.mark.parametrize("rows", [0, 1, 5, 64])
def test_a_saved_and_an_unsaved_artifact_compute_the_same(session: Session, rows: int) -> None:
    x = numbers(rows)
    with offset_model().session() as unsaved:
        from_memory = unsaved.run({"x": x})["y"]
    from_file = session.run({"x": x}, entry="main")["y"]
    np.testing.assert_array_equal(from_file, from_memory)
    np.testing.assert_allclose(from_file, offset_model_reference(x), rtol=1e-5, atol=1e-6)
    assert from_file.dtype == np.float32 and from_file.shape == (rows, 8)


def test_it_tells_what_can_be_run(session: Session) -> None:
    assert [entry.name for entry in session.entry_functions] == ["main", "twice"]
    assert str(session.entry_functions[0].inputs[0]) == "x: float32[n, 4]"
    assert session.plan_json == '{"plan": "handmade"}'
    assert session.manifest.partitions[0].symbol == "add_offset"


def test_an_unknown_entry_function_is_refused_with_the_nearest_name(session: Session) -> None:
    with pytest.raises(UsageError, match='did you mean "twice"'):
        session.run({"a": np.zeros(3, np.float32)}, entry="twic")


def test_without_a_name_the_only_entry_function_runs() -> None:
    spec = TensorSpec("x", "float32", (2,))
    model = host_model({"decode": ([spec], [TensorSpec("y", "float32", (2,))], lambda x: relax.op.negative(x))})
    with model.session() as session:
        np.testing.assert_array_equal(session.run({"x": np.array([1, -2], np.float32)})["y"], [-1, 2])


def test_a_closed_session_says_so(saved: Path) -> None:
    session = byoc.load(saved)
    session.close()
    session.close()
    with pytest.raises(SessionError, match="the session is closed"):
        session.run({"x": numbers(1)})


def mapped_libraries() -> int:
    return sum("/library.so" in line for line in Path("/proc/self/maps").read_text().splitlines())


def test_closing_unloads_the_library(saved: Path) -> None:
    gc.collect()
    before = mapped_libraries()
    session = byoc.load(saved)
    result = session.run({"x": numbers(2)})
    assert mapped_libraries() > before
    session.close()
    del session
    gc.collect()
    assert mapped_libraries() == before
    assert result["y"].shape == (2, 8)


def test_the_unpacked_library_is_gone_once_loaded(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with byoc.load(saved) as session:
        assert list(tmp_path.iterdir()) == []
        assert session.run({"x": numbers(2)})["y"].shape == (2, 8)


def test_two_artifacts_with_the_same_symbols_keep_apart(saved: Path) -> None:
    model = offset_model()
    weights = WeightStore()
    for name, array in zip(("factor", "offset"), (model.arrays[0], model.arrays[1] + 100), strict=True):
        weights.add(name, array)
    x = numbers(3)
    with byoc.load(saved) as one, replace(model, weights=weights).session() as two, byoc.load(saved) as three:
        for _ in range(2):
            np.testing.assert_allclose(one.run({"x": x})["y"], offset_model_reference(x), rtol=1e-5, atol=1e-6)
            assert two.run({"x": x})["y"].min() > 90
            np.testing.assert_array_equal(one.run({"x": x})["y"], three.run({"x": x})["y"])


BARE = """
import sys, numpy as np, byoc
with byoc.load(sys.argv[1]) as session:
    result = session.run({"x": np.load(sys.argv[2])})["y"]
np.save(sys.argv[3], result)
maps = open("/proc/self/maps").read()
assert "libtvm_compiler" not in maps and "libtvm_runtime.so" in maps
"""

RUNTIME_THEN_COMPILER = """
import sys, numpy as np, byoc
session = byoc.load(sys.argv[1])
x = np.load(sys.argv[2])
first = session.run({"x": x})["y"]
import tvm
from tvm import relax
assert tvm.get_global_func("relax.analysis.well_formed", allow_missing=True) is not None
np.testing.assert_array_equal(session.run({"x": x})["y"], first)
np.testing.assert_array_equal(byoc.load(sys.argv[1]).run({"x": x})["y"], first)
np.save(sys.argv[3], first)
"""


@pytest.mark.parametrize(
    ("program", "environment"),
    [(BARE, {"TVM_USE_RUNTIME_LIB": "1"}), (BARE, {}), (RUNTIME_THEN_COMPILER, {})],
    ids=["runtime only", "compiler installed but unused", "compiler loaded later"],
)
def test_a_fresh_process_without_any_tool_runs_it(
    saved: Path, tmp_path: Path, program: str, environment: dict[str, str]
) -> None:
    x = numbers(6)
    np.save(tmp_path / "x.npy", x)
    command = [sys.executable, "-c", program, str(saved), str(tmp_path / "x.npy"), str(tmp_path / "y.npy")]
    result = subprocess.run(
        command, env={"PATH": "", "HOME": str(tmp_path), **environment}, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), offset_model_reference(x), rtol=1e-5, atol=1e-6)


def test_an_array_made_for_a_session_is_aligned() -> None:
    kept = []  # so that each comes from another place
    for shape in [(), (3,), (0, 4), (7, 5)] * 20:
        array = aligned_empty(shape, "bfloat16")
        kept.append((array, bytearray(len(kept))))
        assert array.shape == shape and array.dtype == ml_dtypes.bfloat16
        assert array.ctypes.data % 64 == 0
