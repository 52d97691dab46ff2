"""Sound files of every kind that is damaged: models, an artifact, a plan, costs, a saved state, a checkpoint."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import byoc
from byoc.artifact import Manifest
from tests.models import shared_models


@functools.lru_cache(maxsize=1)
def models() -> tuple[bytes, ...]:
    """Small sound models: some made here, and those of the shared folder of at most 6 KB that byoc takes."""
    found = [convolutions(), _products(), _branch()]
    for path in shared_models():
        if path.stat().st_size <= 6000:
            try:
                byoc.partition(path, ["csource"])
            except byoc.ByocError:
                continue
            found.append(path.read_bytes())
    return tuple(found)


def _model(nodes: Sequence[Any], inputs: dict[str, list[int]], outputs: list[str], **weights: Any) -> bytes:
    given = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()]
    results = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
    constants = [numpy_helper.from_array(np.asarray(a), n) for n, a in weights.items()]
    graph = helper.make_graph(list(nodes), "g", given, results, constants)
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def _weights(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def convolutions() -> bytes:
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w", "b"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["r"]),
        node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("GlobalAveragePool", ["p"], ["g"]),
        node("Flatten", ["g"], ["f"], axis=1),
        node("Gemm", ["f", "m", "n"], ["y"], transB=1),
    ]
    return _model(
        nodes, {"x": [1, 2, 8, 8]}, ["y"], w=_weights(4, 2, 3, 3), b=_weights(4), m=_weights(3, 4), n=_weights(3)
    )


def _products() -> bytes:
    node = helper.make_node
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("Reshape", ["a", "s"], ["b"]),
        node("Transpose", ["b"], ["c"], perm=[0, 2, 1]),
        node("Softmax", ["c"], ["d"], axis=-1),
        node("Slice", ["d", "begin", "end"], ["e"]),
        node("Concat", ["e", "e"], ["h"], axis=1),
        node("ReduceMean", ["h"], ["y"], axes=[1], keepdims=0),
    ]
    numbers = {"s": np.array([2, 3, -1]), "begin": np.array([0, 1]), "end": np.array([2, 3])}
    return _model(nodes, {"x": [2, 5]}, ["y"], w=_weights(5, 6), **numbers)


def _branch() -> bytes:
    node = helper.make_node

    def part(op: str) -> Any:
        result = helper.make_tensor_value_info(op, TensorProto.FLOAT, None)
        return helper.make_graph([node(op, ["x"], [op])], op, [], [result])

    nodes = [
        node("ReduceSum", ["x"], ["s"], keepdims=0),
        node("Greater", ["s", "zero"], ["c"]),
        node("If", ["c"], ["y"], then_branch=part("Exp"), else_branch=part("Neg")),
    ]
    return _model(nodes, {"x": [3]}, ["y"], zero=np.float32(0))


@functools.lru_cache(maxsize=1)
def artifact() -> bytes:
    from tests.handmade import offset_model

    return _saved(offset_model().save)


def _saved(save: Callable[[Path], None]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder) / "file")
        return (Path(folder) / "file").read_bytes()


@functools.lru_cache(maxsize=1)
def plan_text() -> str:
    return byoc.partition(convolutions(), ["csource"], pins=["op:MaxPool=host"]).to_json()


@functools.lru_cache(maxsize=1)
def prepared() -> Any:
    return byoc.partition(convolutions(), ["csource"]).model


@functools.lru_cache(maxsize=1)
def costs_text() -> str:
    from byoc.profile import measure_costs

    given = {"x": np.ones((1, 2, 8, 8), np.float32)}
    return measure_costs(convolutions(), ["csource"], lambda _: given, runs=1).to_json()


@functools.lru_cache(maxsize=1)
def facts() -> Manifest:
    """The manifest of a language model with four-bit caches."""
    from byoc.llm.model import language_model
    from byoc.llm.settings import Settings, parse_kv
    from tests.language_models import make_folder

    with tempfile.TemporaryDirectory() as folder:
        make_folder(Path(folder) / "tiny")
        model = language_model(Path(folder) / "tiny", Settings(kv=parse_kv("k4v4:g8", 2), context=64, chunk=8))
        return byoc.compile(model, use_cache=False).manifest


def cache() -> Any:
    from byoc.llm.cache_state import CacheState
    from byoc.runtime.state import State

    assert facts().language_model is not None
    return CacheState(State(facts().states, facts().model_digest), facts().language_model)


@functools.lru_cache(maxsize=1)
def state_file() -> bytes:
    full = cache()
    for name, array in full.state.arrays.items():
        array.reshape(-1).view(np.uint8)[:] = len(name)
    full.lengths[:] = 5
    return _saved(full.save)


@functools.lru_cache(maxsize=1)
def checkpoint() -> dict[str, bytes]:
    from tests.language_models import make_folder

    with tempfile.TemporaryDirectory() as folder:
        make_folder(Path(folder) / "tiny")
        return {path.name: path.read_bytes() for path in sorted((Path(folder) / "tiny").iterdir())}
