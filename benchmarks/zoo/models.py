"""The models of the zoo, as files of static shape, with their inputs."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from benchmarks.zoo.minilm_graph import minilm_builder
from benchmarks.zoo.mobilenet import mobilenet_v2
from benchmarks.zoo.quantised import DYNAMIC, STATIC, SUFFIX, calibration, float_name, quantised
from benchmarks.zoo.shared import shared_builders
from benchmarks.zoo.transformers import bert_base, vit_small
from tests.models import LIGHT_MODELS, light_model

SEQUENCE = 128


def light(name: str, batch: int) -> onnx.ModelProto:
    """A light model of the onnx wheel with random weights, its batch of 1 replaced where a Reshape repeats it."""
    model = onnx.ModelProto()
    model.CopyFrom(light_model(name))
    shapes = {node.input[1] for node in model.graph.node if node.op_type == "Reshape"}
    for tensor in model.graph.initializer:
        if tensor.name in shapes:
            shape = numpy_helper.to_array(tensor).copy()
            shape[0] = batch if shape[0] == 1 else shape[0]
            tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))
    return fixed(model, batch)


def minilm(batch: int) -> onnx.ModelProto:
    build = minilm_builder()
    return fixed(build.build(build.model_folder()), batch)


def fixed(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """The model with this batch in front and SEQUENCE for every other symbol."""
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        for index, dim in enumerate(value.type.tensor_type.shape.dim):
            if index == 0:
                dim.dim_value = batch
            elif not dim.dim_value:
                dim.dim_value = SEQUENCE
    return model


Build = Callable[[int], onnx.ModelProto]

MODELS: dict[str, Build] = {
    **{name: partial(light, name) for name in LIGHT_MODELS},
    "minilm": minilm,
    "bert_base": lambda batch: bert_base(batch, SEQUENCE),
    "mobilenet_v2": mobilenet_v2,
    "vit_small": vit_small,
}
QUANTISED = tuple(f"{name}{SUFFIX}" for name in (*STATIC, *DYNAMIC))

SHARED: dict[str, Build] = shared_builders()
"""Models that take part only where they are named."""


def model_file(folder: Path, name: str, batch: int) -> Path:
    """The ONNX file of a model, built if `folder` has none yet."""
    path = folder / f"{name}-b{batch}.onnx"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.partial")
        build = partial(_quantised, folder, name) if name in QUANTISED else {**MODELS, **SHARED}[name]
        onnx.save(build(batch), unfinished)
        os.replace(unfinished, path)
    return path


def _quantised(folder: Path, name: str, batch: int) -> onnx.ModelProto:
    original = model_file(folder, float_name(name), batch)
    return quantised(onnx.load(original), calibration(inputs_of(original)), float_name(name) in STATIC)


def inputs_of(path: Path) -> dict[str, np.ndarray]:
    """Seeded values for the model's inputs: normal floats, ones for a mask, and tokens of the vocabulary."""
    rng = np.random.default_rng(1)
    graph = onnx.load(path, load_external_data=False).graph
    constant = {tensor.name for tensor in graph.initializer}
    values: dict[str, np.ndarray] = {}
    for value in graph.input:
        if value.name in constant:
            continue
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            values[value.name] = rng.standard_normal(shape).astype(np.float32)
        elif "mask" in value.name:
            values[value.name] = np.ones(shape, np.int64)
        elif "position" in value.name:
            values[value.name] = np.broadcast_to(np.arange(shape[-1]), shape).copy()
        else:
            values[value.name] = rng.integers(100, 500, shape)
    return values
