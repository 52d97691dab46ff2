"""A CNN for scikit-learn's handwritten digits (8 by 8 pixels), trained here in a few seconds with NumPy."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import onnx
from onnx import helper, numpy_helper

Parameters = dict[str, np.ndarray]
TRAINING = 1000


@lru_cache(maxsize=1)
def digits_model() -> tuple[onnx.ModelProto, np.ndarray, np.ndarray]:
    """(model, images float32[797, 1, 8, 8] in 0..1, labels int64[797]); the images were not trained on."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    images = (found.images[order] / 16).astype("float32")[:, None]
    labels = found.target[order].astype("int64")
    parameters = _trained(images[:TRAINING], labels[:TRAINING])
    return _exported(parameters), images[TRAINING:], labels[TRAINING:]


def _patches(x: np.ndarray, stride: int) -> np.ndarray:
    """[N, C, H, W] as [N, H / stride, W / stride, C * 9] of 3 by 3 patches, padded by one."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))[:, :, ::stride, ::stride]
    count, _, rows, columns = windows.shape[:4]
    return np.ascontiguousarray(windows.transpose(0, 2, 3, 1, 4, 5)).reshape(count, rows, columns, -1)


def _unpatched(gradient: np.ndarray, shape: tuple[int, ...], stride: int) -> np.ndarray:
    """The transpose of `_patches`."""
    count, channels, height, width = shape
    padded = np.zeros((count, channels, height + 2, width + 2), gradient.dtype)
    rows, columns = gradient.shape[1:3]
    pieces = gradient.reshape(count, rows, columns, channels, 3, 3).transpose(0, 3, 4, 5, 1, 2)
    for i in range(3):
        for j in range(3):
            padded[:, :, i : i + rows * stride : stride, j : j + columns * stride : stride] += pieces[:, :, i, j]
    return padded[:, :, 1:-1, 1:-1]


def _gradients(p: Parameters, x: np.ndarray, labels: np.ndarray) -> Parameters:
    """Of the mean cross entropy."""
    first = _patches(x, 1)
    hidden = np.maximum(first @ p["w1"] + p["b1"], 0).transpose(0, 3, 1, 2)
    second = _patches(hidden, 2)
    deep = np.maximum(second @ p["w2"] + p["b2"], 0).transpose(0, 3, 1, 2)
    flat = deep.reshape(len(x), -1)
    scores = flat @ p["w3"] + p["b3"]
    weights = np.exp(scores - scores.max(1, keepdims=True))
    error = weights / weights.sum(1, keepdims=True)
    error[np.arange(len(x)), labels] -= 1
    error /= len(x)
    back = ((error @ p["w3"].T).reshape(deep.shape) * (deep > 0)).transpose(0, 2, 3, 1)
    front = _unpatched(back @ p["w2"].T, hidden.shape, 2) * (hidden > 0)
    front = front.transpose(0, 2, 3, 1)
    return {
        "w3": flat.T @ error, "b3": error.sum(0),
        "w2": np.einsum("nijk,nijc->kc", second, back), "b2": back.sum((0, 1, 2)),
        "w1": np.einsum("nijk,nijc->kc", first, front), "b1": front.sum((0, 1, 2)),
    }  # fmt: skip


def _trained(images: np.ndarray, labels: np.ndarray, epochs: int = 12) -> Parameters:
    """Adam on batches of 50."""
    rng = np.random.default_rng(0)
    shapes = {"w1": (9, 8), "b1": (8,), "w2": (72, 16), "b2": (16,), "w3": (256, 10), "b3": (10,)}
    p = {n: (rng.standard_normal(s) * np.sqrt(2 / s[0]) * (len(s) > 1)).astype("float32") for n, s in shapes.items()}
    mean, square = ({n: np.zeros_like(a) for n, a in p.items()} for _ in range(2))
    step = 0
    for _ in range(epochs):
        for chosen in rng.permutation(len(labels)).reshape(-1, 50):
            step += 1
            for name, gradient in _gradients(p, images[chosen], labels[chosen]).items():
                mean[name] = 0.9 * mean[name] + 0.1 * gradient
                square[name] = 0.999 * square[name] + 0.001 * gradient**2
                rate = 3e-3 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
                p[name] -= (rate * mean[name] / (np.sqrt(square[name]) + 1e-8)).astype("float32")
    return p


def _exported(p: Parameters) -> onnx.ModelProto:
    weights = {
        "w1": p["w1"].T.reshape(8, 1, 3, 3), "b1": p["b1"], "w2": p["w2"].T.reshape(16, 8, 3, 3), "b2": p["b2"],
        "w3": p["w3"], "b3": p["b3"],
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["c1"], "conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], "conv2", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c2"], ["r2"], "relu2"),
        helper.make_node("Flatten", ["r2"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["scores"], "fc"),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
