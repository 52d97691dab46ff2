"""Models that several tests share: real graphs, with weights that can be made anywhere."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

LIGHT_MODELS = (
    "bvlc_alexnet",
    "densenet121",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "squeezenet",
    "vgg19",
    "zfnet512",
)
_BATCH_NORM_INPUTS = ("x", "scale", "bias", "mean", "var")


def shared_folder() -> Path | None:
    """The folder of shared models and data: ``$BYOC_SHARED``, else ``../shared`` beside the repository; or None."""
    folder = Path(os.environ.get("BYOC_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    return folder if folder.is_dir() else None


def shared_models() -> list[Path]:
    """All ONNX files of the shared folder, sorted; empty if there is no such folder."""
    folder = shared_folder()
    return sorted((folder / "models").rglob("*.onnx")) if folder else []


@lru_cache(maxsize=2)
def light_model(name: str) -> onnx.ModelProto:
    """One of :data:`LIGHT_MODELS`: the graph that comes with ``onnx``, with seeded random weights.

    Its last Softmax is left out: random weights saturate it, and a saturated output hides errors.
    """
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    model = onnx.load(folder / f"light_{name}.onnx")
    graph = model.graph
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    roles = {
        value: role
        for node in graph.node
        if node.op_type == "BatchNormalization"
        for role, value in zip(_BATCH_NORM_INPUTS, node.input, strict=True)
    }
    # Models from Caffe scale in a Mul of their own; factors near 0 there would let the signal vanish.
    factors = {value for node in graph.node if node.op_type == "Mul" for value in node.input}
    for node in graph.node:
        if node.op_type == "Unsqueeze" and node.output[0] in factors:
            roles[node.input[0]] = "scale"
    rng = np.random.default_rng(0)
    weights = []
    for node in graph.node:
        if node.op_type == "ConstantOfShape":
            shape = [int(dim) for dim in shapes[node.input[0]]]
            weights.append(
                numpy_helper.from_array(_random_weight(rng, shape, roles.get(node.output[0])), node.output[0])
            )
    kept = [node for node in graph.node if node.op_type != "ConstantOfShape"]
    if kept[-1].op_type == "Softmax":
        graph.output[0].name = kept.pop().input[0]
    _replace(graph.node, kept)
    read = {value for node in kept for value in node.input}
    _replace(graph.initializer, [t for t in (*graph.initializer, *weights) if t.name in read])
    constant = {tensor.name for tensor in graph.initializer}
    _replace(graph.input, [value for value in graph.input if value.name in read - constant])
    model.ir_version = max(model.ir_version, 4)
    return model


def random_inputs(model: onnx.ModelProto, seed: int = 0, size: int = 2) -> dict[str, np.ndarray]:
    """Seeded random values for each input; ``size`` stands for every symbolic dimension."""
    rng = np.random.default_rng(seed)
    constant = {tensor.name for tensor in model.graph.initializer}
    values = {}
    for value in model.graph.input:
        if value.name not in constant:
            tensor = value.type.tensor_type
            shape = [
                dim.dim_value if dim.dim_value > 0 else size * (1 + dim.dim_param.count("+"))
                for dim in tensor.shape.dim
            ]
            values[value.name] = _random_array(rng, shape, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    return values


def _random_array(rng: np.random.Generator, shape: list[int], dtype: np.dtype) -> np.ndarray:
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        return rng.integers(0, 2, shape).astype(dtype)  # 0 and 1: valid indices nearly everywhere
    return rng.standard_normal(shape).astype(dtype)


def _random_weight(rng: np.random.Generator, shape: list[int], role: str | None) -> np.ndarray:
    if role in ("scale", "var"):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if len(shape) > 1:
        return (rng.standard_normal(shape) * np.sqrt(2.0 / np.prod(shape[1:]))).astype(np.float32)
    return (rng.standard_normal(shape) * 0.05).astype(np.float32)


def _replace(field: object, items: list) -> None:
    del field[:]  # type: ignore[attr-defined]
    field.extend(items)  # type: ignore[attr-defined]
