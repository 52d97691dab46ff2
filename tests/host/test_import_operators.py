"""Operators and options that TVM's own importer gets wrong or hides from codegens, beside ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.imported import assert_same, make_model, node

RNG = np.random.default_rng(0)
IMAGE = (1, 4, 7, 6)
W = RNG.standard_normal((4, 4, 3, 3)).astype(np.float32)
VECTOR = np.array([0.5, 1.0, 1.5, 2.0], np.float32)
SIZES = np.array([1, 4, 9, 11], np.int64)

CASES: dict[str, tuple[onnx.NodeProto, dict[str, np.ndarray]]] = {
    "pool, padded below, stride 2": (
        node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_LOWER"),
        {},
    ),
    "pool with ceil mode": (node("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1), {}),
    "average pool with ceil mode": (node("AveragePool", "x", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1), {}),
    "pool with a window beyond one edge only": (
        node("MaxPool", "x", kernel_shape=[2, 2], strides=[4, 5], ceil_mode=1),
        {},
    ),
    "average pool with a window beyond one edge only": (
        node("AveragePool", "x", kernel_shape=[2, 2], strides=[4, 5], ceil_mode=1, count_include_pad=1),
        {},
    ),
    "average pool over its padding": (
        node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
        {},
    ),
    "convolution, asymmetric padding": (node("Conv", "x w", pads=[0, 1, 2, 1], strides=[2, 1]), {"w": W}),
    "convolution, padded above": (node("Conv", "x w", auto_pad="SAME_UPPER", strides=[2, 2]), {"w": W}),
    "transposed convolution to a stated shape": (
        node("ConvTranspose", "x w", strides=[2, 2], output_shape=[14, 12]),
        {"w": W},
    ),
    "transposed convolution, padded, of a kernel below its stride": (
        node("ConvTranspose", "x w", strides=[4, 5], auto_pad="SAME_UPPER"),
        {"w": W},
    ),
    "resize to one row, corners aligned": (
        node("Resize", "x _ _ n", mode="linear", coordinate_transformation_mode="align_corners"),
        {"n": np.array([1, 4, 1, 12], np.int64)},
    ),
    "resize by a scale that puts results halfway": (
        node("Resize", "x _ k", mode="nearest", nearest_mode="round_prefer_floor"),
        {"k": np.array([1, 1, 0.7, 0.7], np.float32)},
    ),
    "response norm": (node("LRN", "x", size=3, alpha=0.1, beta=0.75, bias=2.0), {}),
    "clip from above only": (node("Clip", "x _ m"), {"m": np.array(0.25, np.float32)}),
    "elu": (node("Elu", "x", alpha=0.3), {}),
    "PReLU per channel": (node("PRelu", "x s"), {"s": VECTOR.reshape(4, 1, 1)}),
    "hardmax": (node("Hardmax", "x", axis=1), {}),
    "reduction over no axes that does nothing": (
        node("ReduceSum", "x a", noop_with_empty_axes=1),
        {"a": np.zeros(0, np.int64)},
    ),
    "running sum backwards": (node("CumSum", "x a", reverse=1, exclusive=1), {"a": np.array(2)}),
    "modulo of negative floats": (node("Mod", "x m", fmod=1), {"m": np.array(-0.7, np.float32)}),
    "minimum of three": (node("Min", "x a b"), {"a": np.array(0.5, np.float32), "b": VECTOR.reshape(4, 1, 1)}),
    "padding by reflection": (node("Pad", "x p", mode="reflect"), {"p": np.array([0, 0, 2, 1, 0, 0, 1, 3])}),
    "padding by less than nothing": (node("Pad", "x p"), {"p": np.array([0, 0, -1, 1, 0, 0, 2, -2])}),
    "negative indices": (node("Gather", "x i", axis=1), {"i": np.array([[-1, 0], [2, -4]])}),
    "last index of equal maxima": (
        node("ArgMax", "c", axis=0, select_last_index=1),
        {"c": np.array([1.0, 2, 2], np.float32)},
    ),
    "scatter of fewer rows than the data": (
        node("ScatterElements", "x i u", axis=2),
        {"i": np.array([[[[1, -1]]]]), "u": np.array([[[[5.0, 6.0]]]], np.float32)},
    ),
    "instance norm": (node("InstanceNormalization", "x s s"), {"s": VECTOR}),
    "einsum with an ellipsis": (
        node("Einsum", "x m", equation="...ij,jk->...ik"),
        {"m": W.reshape(-1)[:12].reshape(6, 2)},
    ),
    "depth to space, columns first": (node("DepthToSpace", "x", blocksize=2, mode="CRD"), {}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_an_operator_gives_what_onnx_runtime_gives(case: str) -> None:
    operator, weights = CASES[case]
    model = make_model([operator], {"x": ("float32", IMAGE)}, weights=weights)
    assert_same(model, {"x": RNG.standard_normal(IMAGE).astype(np.float32)})


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"])
def test_resize_in_every_mode(mode: str, coordinates: str) -> None:
    operator = node("Resize", "x _ _ n", mode=mode, coordinate_transformation_mode=coordinates)
    model = make_model([operator], {"x": ("float32", IMAGE)}, weights={"n": SIZES})
    assert_same(model, {"x": RNG.standard_normal(IMAGE).astype(np.float32)}, tolerance=1e-4)


def test_the_statistics_of_a_layer_norm_are_outputs_too() -> None:
    operator = node("LayerNormalization", "x s", "y mean inverse", axis=-1)
    model = make_model([operator], {"x": ("float32", [3, 4])}, ("y", "mean", "inverse"), {"s": VECTOR})
    assert_same(model, {"x": RNG.standard_normal((3, 4)).astype(np.float32)})


def test_an_integer_quotient_is_rounded_towards_zero() -> None:
    model = make_model([node("Div", "x d")], {"x": ("int64", [4])}, weights={"d": np.array(2)})
    assert_same(model, {"x": np.array([-3, -2, 3, 5])})


def test_attention_of_the_standard_is_taken_apart() -> None:
    shape = [1, 2, 3, 4]
    operator = node("Attention", "q k v", is_causal=1)
    model = make_model([operator], {name: ("float32", shape) for name in "qkv"}, opset=23)
    assert_same(model, {name: RNG.standard_normal(shape).astype(np.float32) for name in "qkv"})


def test_a_softmax_of_an_old_opset_counts_all_later_dimensions_as_one() -> None:
    model = make_model([node("Softmax", "x", axis=1)], {"x": ("float32", [2, 3, 4])}, opset=11)
    assert_same(model, {"x": RNG.standard_normal((2, 3, 4)).astype(np.float32)})
