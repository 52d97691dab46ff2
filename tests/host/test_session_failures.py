"""Failures inside a session, Python prototypes, and instruments."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from tvm import relax

import byoc
from byoc.artifact import Artifact, PartitionRecord
from byoc.errors import ArtifactError, SessionError
from byoc.lower.compile_c import find_compiler
from byoc.runtime import Session
from byoc.runtime.native import load_library
from byoc.tensor_spec import TensorSpec
from tests.handmade import host_model, offset_model, offset_model_reference
from tests.session_inputs import numbers


def test_a_failing_partition_is_named_and_the_session_stays_usable(session: Session) -> None:
    x = numbers(5)
    bad = np.full((1, 4), 1e9, np.float32)
    with pytest.raises(SessionError, match='failed in partition "add_offset"') as caught:
        session.run({"x": bad})
    assert caught.value.why == "handmade says: the accelerator refuses so small a number"
    assert "Traceback" not in str(caught.value) and ".cc" not in str(caught.value)
    np.testing.assert_allclose(session.run({"x": x})["y"], offset_model_reference(x), rtol=1e-5, atol=1e-6)


def test_a_failing_bind_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    model = offset_model()
    broken = replace(model.manifest.partitions[0], constants=())
    monkeypatch.setattr("byoc.runtime.session._require_interface", lambda *_: None)
    with pytest.raises(ArtifactError, match='constants of partition "add_offset" cannot be bound') as caught:
        replace(model, manifest=replace(model.manifest, partitions=(broken,))).session()
    assert "one constant expected" in caught.value.why


def test_a_library_that_is_none_is_refused() -> None:
    with pytest.raises(ArtifactError, match="native library cannot be loaded"):
        replace(offset_model(), library=b"\x7fELF nonsense").session()


def test_a_library_that_an_artifact_needs_is_found_in_this_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lib").mkdir()
    needed, name = tmp_path / "lib" / "libneeded_by_a_test.so", tmp_path / "model.so"
    for source, output, *flags in (
        ("int answer(void) { return 42; }", needed, "-Wl,-soname,libneeded_by_a_test.so"),
        ("int answer(void); int ask(void) { return answer(); }", name, str(needed), "-Wl,-rpath,/nowhere"),
    ):
        command = [find_compiler(), "-shared", "-fPIC", "-x", "c", "-", "-x", "none", *flags, "-o", str(output)]
        subprocess.run(command, input=source, text=True, check=True)
    content = name.read_bytes()
    with pytest.raises(ArtifactError, match=r"libneeded_by_a_test\.so") as caught:
        load_library(content)
    assert caught.value.todo == "install the library that is named, or add its folder to LD_LIBRARY_PATH"
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    load_library(content)


def test_a_partition_that_nobody_defines_is_refused_when_loading() -> None:
    def calls_nobody(x: Any) -> Any:
        return relax.call_dps_packed("nobody_defines_this", [x], out_ty=relax.TensorType((2,), "float32"))

    spec = TensorSpec("x", "float32", (2,))
    model = host_model({"main": ([spec], [spec], calls_nobody)})
    with pytest.raises(ArtifactError, match="cannot be started") as caught:
        model.session()
    assert "nobody_defines_this" in caught.value.why


def test_an_artifact_for_other_machines_is_refused_in_memory_too() -> None:
    model = offset_model()
    with pytest.raises(ArtifactError, match="lacks quantum9000"):
        replace(model, manifest=replace(model.manifest, cpu_features=("quantum9000",))).session()


def python_model(function: Any) -> Artifact:
    """y = function(x), x float32[3], as a partition of the codegen "toy"."""

    def body(x: Any) -> Any:
        return relax.call_dps_packed("toy_partition", [x], out_ty=relax.TensorType((3,), "float32"))

    spec = TensorSpec("x", "float32", (3,))
    entry = {"main": ([spec], [TensorSpec("y", "float32", (3,))], body)}
    model = host_model(entry, partitions=(PartitionRecord("toy_partition", "toy"),))
    return replace(model, python_functions={"toy_partition": function})


def test_python_prototypes_of_two_sessions_do_not_meet() -> None:
    def fill(value: float) -> Any:
        def function(x: Any, y: Any) -> None:
            np.from_dlpack(y)[...] = np.from_dlpack(x) + value

        return function

    x = {"x": np.zeros(3, np.float32)}
    with python_model(fill(1)).session() as one, python_model(fill(2)).session() as two:
        np.testing.assert_array_equal(one.run(x)["y"], [1, 1, 1])
        np.testing.assert_array_equal(two.run(x)["y"], [2, 2, 2])
        np.testing.assert_array_equal(one.run(x)["y"], [1, 1, 1])


def test_a_python_prototype_that_raises_is_named_and_called_once() -> None:
    calls = []

    def function(x: Any, y: Any) -> None:
        calls.append(1)
        raise RuntimeError("not simulated yet")

    failing = pytest.raises(SessionError, match='partition "toy_partition"')
    with python_model(function).session() as session, failing as caught:
        session.run({"x": np.zeros(3, np.float32)})
    assert caught.value.why == "toy says: not simulated yet"
    assert len(calls) == 1


def test_an_instrument_sees_every_partition_before_and_after(session: Session) -> None:
    events: list[tuple[str, bool, int]] = []

    def look(function: Any, symbol: str, before: bool, result: Any, *arguments: Any) -> None:
        events.append((symbol, bool(before), len(arguments)))

    session.set_instrument(look)
    x = numbers(2)
    np.testing.assert_allclose(session.run({"x": x})["y"], offset_model_reference(x), rtol=1e-5, atol=1e-6)
    session.set_instrument(None)
    assert [event for event in events if event[0] == "add_offset"] == [
        ("add_offset", True, 2),
        ("add_offset", False, 2),
    ]
    count = len(events)
    session.run({"x": x})
    assert len(events) == count


def test_an_instrument_may_leave_a_call_out(session: Session) -> None:
    def skip(function: Any, symbol: str, before: bool, result: Any, *arguments: Any) -> int:
        if symbol == "add_offset" and before:
            np.from_dlpack(arguments[1])[...] = 5
            return 1
        return 0

    session.set_instrument(skip)
    np.testing.assert_array_equal(session.run({"x": numbers(2)})["y"], np.full((2, 8), 5.0))


def test_a_run_without_enough_memory_says_how_much_it_asked_for() -> None:
    info = helper.make_tensor_value_info
    axes = [helper.make_tensor(name, TensorProto.INT64, [1], [axis]) for name, axis in (("first", 0), ("last", 1))]
    nodes = [
        helper.make_node("Unsqueeze", ["x", "last"], ["column"]),
        helper.make_node("Unsqueeze", ["x", "first"], ["row"]),
        helper.make_node("Mul", ["column", "row"], ["products"]),
        helper.make_node("ReduceSum", ["products", "first"], ["y"], keepdims=0),
    ]
    ends = [[info(name, TensorProto.FLOAT, ["N"])] for name in "xy"]
    graph = helper.make_graph(nodes, "outer", *ends, axes)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with byoc.compile(model, use_cache=False).session() as session:
        with pytest.raises(SessionError, match='the run of "main" failed for want of memory') as caught:
            session.run({"x": np.ones(2**22, np.float32)})
        assert caught.value.why == "64 TiB for results on their way are more than the system gives"
        np.testing.assert_array_equal(session.run({"x": np.ones(3, np.float32)})["y"], [3.0, 3.0, 3.0])
