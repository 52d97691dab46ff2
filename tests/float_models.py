"""Small float models for the quantiser, and runs of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper


def float_model(
    nodes: Sequence[onnx.NodeProto],
    weights: Mapping[str, np.ndarray],
    shape: Sequence[int | str] = ("N", 3, 8, 8),
    outputs: Sequence[str] = ("y",),
    opset: int = 17,
) -> onnx.ModelProto:
    """A model from the input ``x`` to `outputs`."""
    graph = helper.make_graph(
        list(nodes),
        "float",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


def small_cnn() -> onnx.ModelProto:
    """Convolution, batch norm and ReLU; a residual sum; a pooled concatenation; an average; a product with bias."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype("float32")

    weights = {
        "w0": normal(8, 3, 3, 3), "gamma": np.linspace(0.5, 2, 8, dtype="float32"), "beta": normal(8),
        "mean": normal(8), "var": np.linspace(0.5, 1.5, 8, dtype="float32"), "w1": normal(8, 8, 3, 3), "b1": normal(8),
        "w2": normal(4, 8, 1, 1), "fc": normal(10, 12), "bias": normal(10),
    }  # fmt: skip
    pads = [1, 1, 1, 1]
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["c0"], "conv0", pads=pads),
        helper.make_node("BatchNormalization", ["c0", "gamma", "beta", "mean", "var"], ["n0"], "norm"),
        helper.make_node("Relu", ["n0"], ["r0"], "relu0"),
        helper.make_node("Conv", ["r0", "w1", "b1"], ["c1"], "conv1", pads=pads),
        helper.make_node("Add", ["c1", "r0"], ["s"], "sum"),
        helper.make_node("Relu", ["s"], ["r1"], "relu1"),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], "conv2"),
        helper.make_node("Concat", ["c2", "r1"], ["cat"], "concat", axis=1),
        helper.make_node("MaxPool", ["cat"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["p"], ["g"], "average"),
        helper.make_node("Flatten", ["g"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "fc", "bias"], ["y"], "fc", transB=1),
    ]
    return float_model(nodes, weights)


def densenet_end() -> onnx.ModelProto:
    """Concatenation, batch norm, ReLU, average, convolution; nothing is there to fold the batch norm into."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((5, 3, 1, 1)), "v": rng.standard_normal((4, 8, 1, 1)) / 3,
        "scale": np.linspace(0.5, 2, 8), "shift": rng.standard_normal(8), "mean": np.zeros(8), "variance": np.ones(8),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("Concat", ["x", "c"], ["cat"], "concat", axis=1),
        helper.make_node("BatchNormalization", ["cat", "scale", "shift", "mean", "variance"], ["n"], "norm"),
        helper.make_node("Relu", ["n"], ["r"], "relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["g"], "average"),
        helper.make_node("Conv", ["g", "v"], ["y"], "last"),
    ]
    return float_model(nodes, {name: array.astype("float32") for name, array in weights.items()})


def images(count: int = 16, seed: int = 1) -> np.ndarray:
    """float32[count, 3, 8, 8], standard normal."""
    return np.random.default_rng(seed).standard_normal((count, 3, 8, 8)).astype("float32")


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """The first output, by ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def decibels(reference: np.ndarray, other: np.ndarray) -> float:
    """Signal over noise."""
    noise = np.square(reference - other).sum()
    return float(10 * np.log10(np.square(reference).sum() / noise)) if noise else float("inf")
