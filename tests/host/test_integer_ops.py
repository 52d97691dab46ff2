"""Quantised models become integer ops, which compute what ONNX Runtime does to within a step."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import tvm
from onnx import helper
from tvm import relax

from byoc.importer import import_model
from byoc.model import prepare_model
from byoc.ops import call
from byoc.ops.integer_reference import qlinear_add, qlinear_matmul, requantize
from byoc.quant import quantize
from byoc.quant.fixed_point import fixed_point, requantise
from byoc.rewrite.canonical import canonicalise
from tests.float_models import decibels, float_model, images, run, small_cnn


def ops_of(model) -> list[str]:
    return [node.op for node in prepare_model(model, []).graphs["main"].nodes]


def on_host(module, *arrays: np.ndarray) -> np.ndarray:
    machine = relax.VirtualMachine(tvm.compile(module, target="llvm"), tvm.cpu())
    return machine["main"](*(tvm.runtime.tensor(a) for a in arrays)).numpy()


def module_of(op, attrs, *constants: np.ndarray, inputs: list[tuple[tuple[int, ...], str]]) -> tvm.IRModule:
    params = [relax.Var(f"x{i}", relax.TensorType(shape, dtype)) for i, (shape, dtype) in enumerate(inputs)]
    builder = relax.BlockBuilder()
    with builder.function("main", params):
        with builder.dataflow():
            operands = [*params, *(relax.const(c, c.dtype.name) for c in constants)]
            out = builder.emit_output(builder.emit(call(op, operands, attrs)))
        builder.emit_func_output(out)
    return builder.get()


def test_every_layer_of_a_quantised_model_becomes_an_integer_op():
    ops = ops_of(quantize(small_cnn(), {"x": images()}).proto)
    assert sorted(ops) == sorted(
        ["quantize", *["byoc.qlinear_conv"] * 3, "byoc.qlinear_add", "concat", "nn.max_pool2d", "byoc.qlinear_mean",
         "reshape", "byoc.qlinear_matmul", "dequantize"]
    )  # fmt: skip


@pytest.mark.parametrize("keywords", [{}, {"per_channel": False}, {"power_of_two": True}, {"bits": 16}])
def test_the_host_computes_what_onnxruntime_does(keywords):
    quantised = quantize(small_cnn(), {"x": images()}, **keywords)
    module = canonicalise(import_model(quantised.proto).module, ["main"])
    x = images(4, seed=2)
    ours, theirs = on_host(module, x), run(quantised.proto, x)
    assert decibels(theirs, ours) > 35


def test_what_cannot_be_an_integer_op_stays_float():
    quantised = quantize(small_cnn(), {"x": images()}, keep=["conv1"])
    ops = ops_of(quantised.proto)
    assert "nn.conv2d" in ops and ops.count("byoc.qlinear_conv") == 2


def dense_block() -> onnx.ModelProto:
    """Convolution with Clip, a concatenation, a batch norm that no convolution can take, and a softmax."""
    rng = np.random.default_rng(3)
    weights = {
        "w0": rng.standard_normal((4, 3, 3, 3)).astype("float32"), "low": np.float32(0), "high": np.float32(2),
        "gamma": np.linspace(-1, 2, 7, dtype="float32"), "beta": np.linspace(-0.5, 0.5, 7, dtype="float32"),
        "mean": np.linspace(0, 1, 7, dtype="float32"), "var": np.linspace(0.5, 1.5, 7, dtype="float32"),
        "w1": rng.standard_normal((5, 7, 1, 1)).astype("float32"),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["c0"], "conv0", pads=[1, 1, 1, 1]),
        helper.make_node("Clip", ["c0", "low", "high"], ["r0"], "clip"),
        helper.make_node("Concat", ["r0", "x"], ["cat"], "concat", axis=1),
        helper.make_node("BatchNormalization", ["cat", "gamma", "beta", "mean", "var"], ["n"], "norm"),
        helper.make_node("Relu", ["n"], ["r1"], "relu"),
        helper.make_node("Conv", ["r1", "w1"], ["c1"], "conv1"),
        helper.make_node("Softmax", ["c1"], ["y"], "softmax", axis=1),
    ]
    return float_model(nodes, weights)


def test_limits_and_scaled_channels_have_integer_forms():
    quantised = quantize(dense_block(), {"x": images()})
    (nodes,) = [prepare_model(quantised.proto, []).graphs["main"].nodes]
    convs = [node for node in nodes if node.op == "byoc.qlinear_conv"]
    assert [node.node for node in convs] == ["conv0", "norm", "conv1"]
    assert [node.attrs["groups"] for node in convs] == [1, 7, 1]
    assert not {"clip", "maximum", "minimum", "multiply", "add"} & {node.op for node in nodes}
    x = images(4, seed=2)
    module = canonicalise(import_model(quantised.proto).module, ["main"])
    assert decibels(run(quantised.proto, x), on_host(module, x)) > 30


def test_an_op_that_stays_float_says_why():
    def notes(proto) -> dict[str, str]:
        return {node.node: node.note for node in prepare_model(proto, []).graphs["main"].nodes if node.note}

    assert notes(quantize(dense_block(), {"x": images()}).proto) == {"softmax": "it has no integer form"}
    assert notes(quantize(small_cnn(), {"x": images()}).proto) == {}
    proto = quantize(small_cnn(), {"x": images()}).proto
    scale = next(t for t in proto.graph.initializer if t.name == "conv1_weight_scale")
    scale.raw_data = np.zeros(8, "float32").tobytes()
    assert notes(proto)["conv1"] == "its weights have scales that are not positive"


def test_products_round_exactly_half_to_even():
    x = np.arange(-128, 128, dtype="int8").reshape(-1, 1)
    weight, bias = np.array([[1, 3]], "int8"), np.array([0, 1], "int32")
    fixed = fixed_point([0.5, 0.25])
    attrs = {"x_zero": 0, "y_zero": 0, "low": -128, "high": 127, "out_dtype": "int8"}
    attrs |= {"multiplier": fixed.multiplier, "shift": fixed.shift}
    ours = on_host(module_of(qlinear_matmul, attrs, weight, bias, inputs=[(x.shape, "int8")]), x)
    totals = x.astype("int64") @ weight + bias
    assert np.array_equal(ours, requantise(totals, fixed.multiplier, fixed.shift, 0, -128, 127))
    assert np.array_equal(ours, np.clip(np.rint(totals * [0.5, 0.25]), -128, 127))


def test_sums_of_other_scales_and_zero_points():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (50,)).astype("uint8"), rng.integers(-128, 128, (50,)).astype("int8")
    attrs = {"a_zero": 3, "b_zero": -7, "y_zero": 1, "multiplier": (3, 5), "shift": (3,), "low": 1, "high": 127}
    module = module_of(qlinear_add, attrs | {"out_dtype": "int8"}, inputs=[((50,), "uint8"), ((50,), "int8")])
    ours = on_host(module, a, b)
    exact = np.rint(((a.astype(float) - 3) * 3 + (b.astype(float) + 7) * 5) / 8) + 1
    assert np.array_equal(ours, np.clip(exact, 1, 127))


def test_requantising_to_another_type():
    x = np.arange(256, dtype="uint8")
    fixed = fixed_point([0.75])
    attrs = {"x_zero": 128, "y_zero": 0, "low": -128, "high": 127, "out_dtype": "int8"}
    attrs |= {"multiplier": fixed.multiplier, "shift": fixed.shift}
    ours = on_host(module_of(requantize, attrs, inputs=[((256,), "uint8")]), x)
    assert np.array_equal(ours, np.rint((x.astype(float) - 128) * 0.75))
