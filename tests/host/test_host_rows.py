"""Row kernels of the host against float64: every remainder of a vector, long rows, symbolic sizes, infinities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

import byoc
from tests.imported import make_model, node

SIZES = {"n": 3, "m": 37}


def on_host(nodes: list[onnx.NodeProto], x: np.ndarray, shape: list, weights: dict[str, np.ndarray]) -> np.ndarray:
    model = make_model(nodes, {"x": ("float32", shape)}, weights=weights, opset=23)
    with byoc.compile(model, use_cache=False).session() as session:
        return np.array(session.run({"x": x})["y"])


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def normalised(x: np.ndarray, axes: tuple[int, ...], centred: bool = True) -> np.ndarray:
    rest = x - x.mean(axes, keepdims=True) if centred else x
    return rest / np.sqrt((rest * rest).mean(axes, keepdims=True) + 1e-5)


REFERENCES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Softmax": softmax,
    "LogSoftmax": lambda x: np.log(softmax(x)),
    "LayerNormalization": lambda x: normalised(x, (-1,)),
    "RMSNormalization": lambda x: normalised(x, (-1,), centred=False),
    "ReduceSum": lambda x: x.sum(-1),
    "ReduceMean": lambda x: x.mean(-1),
    "ReduceMax": lambda x: x.max(-1),
    "ReduceMin": lambda x: x.min(-1),
}


@pytest.mark.parametrize("op", list(REFERENCES))
@pytest.mark.parametrize("shape", [[5, 1], [3, 15], [2, 7, 16], [40, 250], [2, 9001], ["n", "m"], [4, "m"], ["n", 130]])
def test_a_row_of_any_length(op: str, shape: list) -> None:
    x = np.random.default_rng(0).standard_normal([SIZES.get(d, d) for d in shape]).astype("float32") * 3 + 5
    if op.startswith("Reduce"):
        made, weights = node(op, "x axes", keepdims=0), {"axes": np.array([-1], "int64")}
    elif op.endswith("Normalization"):
        if shape[-1] == "m":
            pytest.skip("the scale has a known size")
        made, weights = node(op, "x scale", axis=-1, epsilon=1e-5), {"scale": np.ones(shape[-1], "float32")}
    else:
        made, weights = node(op, "x", axis=-1), {}
    wanted = REFERENCES[op](x.astype("float64"))
    got = on_host([made], x, shape, weights)
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=2e-6, atol=4e-6)


@pytest.mark.parametrize("plane", [(5, 7), (300, 301)])
def test_an_instance_norm_far_from_zero(plane: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((2, 3, *plane)) + 200).astype("float32")
    weights = {"scale": np.array([1, 2, -1], "float32"), "b": np.array([0, 1, 3], "float32")}
    got = on_host([node("InstanceNormalization", "x scale b", epsilon=1e-5)], x, list(x.shape), weights)
    wanted = normalised(x.astype("float64"), (2, 3)) * weights["scale"][:, None, None] + weights["b"][:, None, None]
    np.testing.assert_allclose(got, wanted, rtol=0, atol=3e-4)


def test_extremes_of_infinities_and_a_softmax_with_masked_places() -> None:
    x = np.full((2, 33), -np.inf, "float32")
    axes = {"axes": np.array([1], "int64")}
    assert on_host([node("ReduceMax", "x axes", keepdims=0)], x, [2, 33], axes).tolist() == [-np.inf, -np.inf]
    x[:, 20] = 1
    assert on_host([node("Softmax", "x", axis=-1)], x, [2, 33], {})[0].tolist() == [0.0] * 20 + [1.0] + [0.0] * 12


def test_a_row_that_holds_several_axes_of_a_tensor() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 7)).astype("float32")
    axes = {"axes": np.array([2, 3], "int64")}
    got = on_host([node("ReduceMean", "x axes", keepdims=1)], x, [2, 3, 5, 7], axes)
    np.testing.assert_allclose(got, x.mean((2, 3), keepdims=True), rtol=0, atol=1e-6)
