"""Quantised operators of ONNX and of ONNX Runtime, beside ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from byoc.importer import import_model
from byoc.model import prepare_model
from byoc.quant import quantize_dynamic
from tests.float_models import decibels, images, small_cnn
from tests.imported import execute, run_on_onnxruntime

RNG = np.random.default_rng(0)


def model(node: str, inputs, weights: dict, x: np.ndarray, domain: str = "", **attributes) -> onnx.ModelProto:
    dtype = helper.np_dtype_to_tensor_dtype(x.dtype)
    made = helper.make_node(node, inputs, ["y"], "node", domain=domain, **attributes)
    graph = helper.make_graph(
        [made], "g", [helper.make_tensor_value_info("x", dtype, x.shape)], [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in weights.items()],
    )  # fmt: skip
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def u8(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape).astype("uint8")


def s8(*shape: int) -> np.ndarray:
    return RNG.integers(-128, 128, shape).astype("int8")


ACTIVATION = {"xs": np.float32(0.02), "xz": np.uint8(128), "ys": np.float32(0.05), "yz": np.uint8(100)}
CASES = {
    "QLinearConv": (
        ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], "", u8(1, 3, 6, 6), {"pads": [1, 1, 1, 1]},
        {"w": s8(4, 3, 3, 3), "ws": np.float32([0.002, 0.003, 0.001, 0.004]), "wz": np.zeros(4, "int8"),
         "b": np.int32([5, -9, 100, 0])},
        "byoc.qlinear_conv",
    ),
    "QLinearMatMul": (
        ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"], "", u8(5, 12), {},
        {"w": u8(12, 7), "ws": np.float32(0.004), "wz": np.uint8(128)}, "byoc.qlinear_matmul",
    ),
    "QGemm": (
        ["x", "xs", "xz", "w", "ws", "wz", "b", "ys", "yz"], "com.microsoft", u8(5, 12), {"transB": 1},
        {"w": s8(7, 12), "ws": np.float32(0.004), "wz": np.int8(0), "b": np.arange(7, dtype="int32")},
        "byoc.qlinear_matmul",
    ),
    "QLinearAdd": (
        ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"], "com.microsoft", u8(3, 8), {},
        {"w": u8(3, 8), "ws": np.float32(0.03), "wz": np.uint8(90)}, "quantize",
    ),
    "QLinearGlobalAveragePool": (
        ["x", "xs", "xz", "ys", "yz"], "com.microsoft", u8(2, 3, 5, 5), {"channels_last": 0}, {}, "byoc.qlinear_mean",
    ),
    "QLinearSigmoid": (["x", "xs", "xz", "ys", "yz"], "com.microsoft", u8(3, 8), {}, {}, "quantize"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_operators_on_integers_agree_with_onnxruntime_to_within_a_step(name):
    inputs, domain, x, attributes, weights, op = CASES[name]
    used = {n: a for n, a in {**ACTIVATION, **weights}.items() if n in inputs}
    built = model(name, inputs, used, x, domain, **attributes)
    assert op in [node.op for node in prepare_model(built, []).graphs["main"].nodes]
    (ours,), (theirs,) = execute(import_model(built), {"x": x}), run_on_onnxruntime(built, {"x": x})
    assert ours.dtype == theirs.dtype
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1


def test_products_of_integers_with_zero_points_are_exact():
    x = u8(4, 9)
    weights = {"w": u8(9, 6), "xz": np.uint8(7), "wz": np.uint8(128)}
    built = model("MatMulInteger", ["x", "w", "xz", "wz"], weights, x)
    assert [n.op for n in prepare_model(built, []).graphs["main"].nodes] == ["byoc.matmul_integer"]
    (ours,), (theirs,) = execute(import_model(built), {"x": x}), run_on_onnxruntime(built, {"x": x})
    assert ours.dtype == np.int32 and np.array_equal(ours, theirs)


def test_convolutions_of_integers_are_exact():
    x = u8(1, 3, 6, 6)
    built = model("ConvInteger", ["x", "w", "xz"], {"w": s8(4, 3, 3, 3), "xz": np.uint8(9)}, x, pads=[1, 1, 1, 1])
    (ours,), (theirs,) = execute(import_model(built), {"x": x}), run_on_onnxruntime(built, {"x": x})
    assert np.array_equal(ours, theirs)


def test_dynamic_quantisation_is_that_of_the_standard():
    quantised = quantize_dynamic(small_cnn())
    ops = [n.op for n in prepare_model(quantised.proto, []).graphs["main"].nodes]
    assert "byoc.dynamic_quantize" in ops and "byoc.matmul_integer" in ops
    x = images(4, seed=3)
    (ours,), (theirs,) = (
        execute(import_model(quantised.proto), {"x": x}), run_on_onnxruntime(quantised.proto, {"x": x})
    )  # fmt: skip
    assert decibels(theirs, ours) > 60
