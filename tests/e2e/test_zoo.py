"""The benchmark's processes, on a model small enough for a test."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from benchmarks.zoo import models
from benchmarks.zoo.memory import counting_library
from benchmarks.zoo.process import Worker, WorkerError
from benchmarks.zoo.rounds import Effort, measure
from benchmarks.zoo.spec import parse


def tiny(batch: int) -> onnx.ModelProto:
    """relu(x) - 1"""
    one = helper.make_tensor("one", TensorProto.FLOAT, [], [1.0])
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 4]) for name in "xy"]
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Sub", ["r", "one"], ["y"])]
    graph = helper.make_graph(nodes, "tiny", value[:1], value[1:], [one])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_runners_take_turns_and_a_failure_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(models.MODELS, "tiny", tiny)
    runners = [parse("onnxruntime"), parse("csource"), parse("nosuch")]
    reference, ours, failed = measure(tmp_path, "tiny", runners, 3, 1, Effort(2, 1.0), busy="free")
    assert failed.error.startswith('compiling: UnknownTargetError: [BYOC-101] there is no target "nosuch"')
    for row in (reference, ours):
        assert row.error == ""
        assert len(row.rounds_ms) == 2
        assert row.median_ms is not None and row.median_ms > 0
        assert row.busy_ms is not None and row.busy_ms > 0
        assert row.allocations is not None and row.allocations > 0
        assert (row.round_trip_ns or 0) > 0 or len(os.sched_getaffinity(0)) == 1
    assert ours.relative_error == 0.0
    assert (reference.own_allocations, ours.own_allocations) == (None, 0)
    assert ours.compile_s is not None and ours.compile_s > 0
    assert ours.summary.startswith("csource 2/2 ops")


def test_a_worker_that_dies_says_how(tmp_path: Path) -> None:
    onnx.save(tiny(1), tmp_path / "tiny.onnx")
    np.savez(tmp_path / "x.npz", x=np.zeros((1, 4), "float32"))
    with Worker("onnxruntime", tmp_path / "tiny.onnx", tmp_path / "x.npz", 1, counting_library(tmp_path)) as worker:
        assert worker.first_answer()["load_s"] > 0
        worker._process.kill()
        with pytest.raises(WorkerError, match="died of SIGKILL"):
            worker.ask(do="time", warm=0, runs=1)


def test_every_model_of_the_zoo_is_seeded() -> None:
    first, second = (models.MODELS["mobilenet_v2"](1).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second
