"""Quantising float models: what comes out is standard, near to float, and says what was not done."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import helper

from byoc.errors import CalibrationError, QuantizationError, UsageError
from byoc.quant import quantize
from byoc.quant.observers import OBSERVERS
from tests.float_models import decibels, densenet_end, float_model, images, run, small_cnn


@pytest.mark.parametrize(
    ("keywords", "least"),
    [
        ({}, 25), ({"method": "klj"}, 25), ({"method": "minmax"}, 25), ({"method": "percentile"}, 20),
        ({"per_channel": False}, 20), ({"power_of_two": True}, 15), ({"progressive": False}, 25), ({"bits": 16}, 60),
    ],
)  # fmt: skip
def test_a_quantised_model_stays_near_to_float_on_other_data(keywords, least):
    quantised = quantize(small_cnn(), {"x": images()}, **keywords)
    onnx.checker.check_model(quantised.proto, full_check=True)
    other = images(seed=2)
    assert decibels(run(small_cnn(), other), run(quantised.proto, other)) > least


def test_everything_that_has_an_integer_form_is_between_dequantize_and_quantize():
    quantised = quantize(small_cnn(), {"x": images()})
    produced = {name: node.op_type for node in quantised.proto.graph.node for name in node.output}
    for node in quantised.proto.graph.node:
        if node.op_type in ("Conv", "Gemm", "Add", "Concat", "GlobalAveragePool"):
            assert {produced[name] for name in node.input} == {"DequantizeLinear"}, node.name
    assert "BatchNormalization" not in produced.values()
    assert quantised.layers.float_nodes == {}


def test_results_of_relu_use_all_unsigned_levels():
    ranges = quantize(small_cnn(), {"x": images()}, method="minmax").ranges
    assert ranges["r0"].unsigned and ranges["r0"].threshold == pytest.approx(ranges["r0"].step * 255)
    assert not ranges["y"].unsigned


def test_sums_and_concatenations_share_their_steps():
    ranges = quantize(small_cnn(), {"x": images()}).ranges
    assert ranges["c1"].step == ranges["r0"].step
    assert ranges["c2"].step == ranges["cat"].step == ranges["r1"].step == ranges["p"].step
    assert ranges["c2"].unsigned == ranges["r1"].unsigned == ranges["cat"].unsigned is False


def test_power_of_two_mode_has_powers_of_two_everywhere():
    quantised = quantize(small_cnn(), {"x": images()}, power_of_two=True)
    steps = [r.step for r in quantised.ranges.values()] + [s for w in quantised.weights.values() for s in w.step]
    assert all(np.log2(step) == round(np.log2(step)) for step in steps)


def test_a_fixed_batch_of_one_is_calibrated_sample_by_sample():
    model = small_cnn()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    free, fixed = (quantize(m, {"x": images()}, method="minmax", progressive=False) for m in (small_cnn(), model))
    assert len(fixed.runs) == 16
    assert fixed.ranges["r1"].peak == pytest.approx(free.ranges["r1"].peak, rel=1e-5)


def test_several_batches_count_as_one():
    batches = [{"x": images()[:8]}, {"x": images()[8:]}]
    one, two = quantize(small_cnn(), {"x": images()}), quantize(small_cnn(), batches)
    assert two.ranges["y"].threshold == pytest.approx(one.ranges["y"].threshold, rel=1e-4)


def test_means_of_channels_stay_what_they_are_in_float():
    """Weights that all round down shift every result; the bias takes that up."""
    weights = {"w": np.array([[127.0, 0.4, 0.4, 0.4]], "float32"), "b": np.zeros(1, "float32")}
    model = float_model([helper.make_node("Gemm", ["x", "w", "b"], ["y"], "fc", transB=1)], weights, ("N", 4))
    x = np.random.default_rng(0).uniform(0, 1, (256, 4)).astype("float32")
    x[:, 0] /= 100
    means = [
        run(quantize(model, {"x": x}, method="minmax", bias_correction=chosen).proto, x).mean()
        for chosen in (True, False)
    ]
    wanted = run(model, x).mean()
    assert abs(means[0] - wanted) < 0.01 < 0.4 < abs(means[1] - wanted)


def depthwise_model(spread: float) -> onnx.ModelProto:
    """A convolution, a ReLU and a depthwise convolution; channels between differ by up to `spread` in range."""
    random = np.random.default_rng(0)
    scale = np.geomspace(1, spread, 8)
    weights = {
        "w": random.standard_normal((8, 3, 1, 1)) * scale[:, None, None, None], "b": random.standard_normal(8) * scale,
        "v": random.standard_normal((16, 1, 3, 3)) / np.repeat(scale, 2)[:, None, None, None],
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], "before"),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Conv", ["r", "v"], ["y"], "depthwise", group=8),
    ]
    return float_model(nodes, {name: array.astype("float32") for name, array in weights.items()})


@pytest.mark.parametrize("method", OBSERVERS)
def test_channels_that_a_depthwise_convolution_reads_are_brought_to_one_range(method):
    model, other = depthwise_model(spread=100), images(seed=2)
    without, equalized = (quantize(model, {"x": images()}, method=method, equalize=e) for e in (False, True))
    assert np.allclose(run(equalized.graph.to_model(), other), run(model, other), rtol=1e-4, atol=1e-4)
    noisy, near = (decibels(run(model, other), run(q.proto, other)) for q in (without, equalized))
    assert noisy < 25 and near > 30
    peaks = run(equalized.graph.to_model(outputs=[onnx.ValueInfoProto(name="r")]), images()).max(axis=(0, 2, 3))
    assert np.allclose(peaks, peaks.max(), rtol=1e-4)
    assert not (quantize(model, {"x": images()}, per_channel=False).settings.equalizes)


@pytest.mark.parametrize("method", OBSERVERS)
def test_weights_on_a_grid_of_eight_bits_stay_on_it(method):
    integers = np.random.default_rng(0).integers(-100, 101, (6, 40))
    model = float_model(
        [helper.make_node("Gemm", ["x", "w"], ["y"], "fc", transB=1)],
        {"w": (integers * 0.03).astype("float32")},
        ("N", 40),
    )
    x = {"x": np.random.default_rng(1).standard_normal((8, 40)).astype("float32")}
    (weights,) = quantize(model, x, method=method).weights.values()
    assert np.allclose(weights.real, integers * 0.03, rtol=1e-6)
    (weights,) = quantize(model, x, method=method, power_of_two=True).weights.values()
    assert not np.allclose(weights.real, integers * 0.03, rtol=1e-6)


def test_kept_nodes_stay_float():
    quantised = quantize(small_cnn(), {"x": images()}, keep=["conv1", "op:GlobalAveragePool"])
    assert quantised.layers.float_nodes["conv1"] == "kept in float (conv1)"
    assert quantised.layers.float_nodes["average"] == "kept in float (op:GlobalAveragePool)"
    weights = {i.name for i in quantised.proto.graph.initializer if i.data_type == onnx.TensorProto.FLOAT}
    assert "w1" in weights


def test_what_lies_behind_a_kept_node_takes_integers_again():
    quantised = quantize(small_cnn(), {"x": images()}, keep=["conv1"])
    assert quantised.layers.float_nodes == {"conv1": "kept in float (conv1)"}
    assert quantised.ranges["c1"].step == quantised.ranges["r0"].step
    assert decibels(run(small_cnn(), images(seed=2)), run(quantised.proto, images(seed=2))) > 25


def test_an_average_of_what_a_batch_norm_rescales_takes_integers():
    model = densenet_end()
    quantised = quantize(model, {"x": images()})
    assert set(quantised.layers.float_nodes) == {"norm", "relu"}
    produced = {name: node for node in quantised.proto.graph.node for name in node.output}
    (average,) = (node for node in quantised.proto.graph.node if node.op_type == "GlobalAveragePool")
    assert produced[average.input[0]].op_type == "DequantizeLinear"
    assert quantised.ranges["r"].unsigned and quantised.ranges["g"].unsigned
    assert decibels(run(model, images(seed=2)), run(quantised.proto, images(seed=2))) > 30


def test_an_average_of_what_has_no_integer_form_stays_float():
    weights = {"w": np.random.default_rng(0).standard_normal((5, 3, 1, 1)).astype("float32")}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("LRN", ["c"], ["n"], "norm", size=3),
        helper.make_node("GlobalAveragePool", ["n"], ["y"], "average"),
    ]
    floats = quantize(float_model(nodes, weights), {"x": images()}).layers.float_nodes
    assert floats == {"norm": "LRN has no integer form", "average": "its input n is float"}


def test_the_parameter_file_names_multipliers_and_shifts(tmp_path):
    quantised = quantize(small_cnn(), {"x": images()})
    quantised.save(tmp_path / "q.onnx")
    parameters = json.loads((tmp_path / "q.quant.json").read_text())
    layer = next(entry for entry in parameters["layers"] if "conv1" in entry["nodes"])
    factors = np.array(layer["multiplier"]) * 2.0 ** -np.array(layer["shift"])
    scale = {name: tensor["scale"] for name, tensor in parameters["tensors"].items()}
    wanted = scale["r0"] * np.array(layer["weight_scale"]) / scale["c1"]
    assert np.allclose(factors, wanted, rtol=1e-6)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["q.onnx", "q.quant.json"]


def test_a_bias_beyond_32_bits_makes_the_weights_coarser():
    weights = {"w": np.full((2, 4), 1e-6, "float32"), "b": np.array([5000.0, 0.0], "float32")}
    model = float_model([helper.make_node("Gemm", ["x", "w", "b"], ["y"], "fc", transB=1)], weights, ("N", 4))
    x = np.random.default_rng(0).standard_normal((8, 4)).astype("float32")
    quantised = quantize(model, {"x": x})
    assert any("leave 32 bits" in note for note in quantised.notes)
    assert np.allclose(run(quantised.proto, x), run(model, x), atol=5000 / 127)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ({"z": images()}, 'the calibration data names "z", which is no input of the model'),
        ({}, 'the calibration data has no array for input "x"'),
        ({"x": images()[:, :2]}, "has the shape [16, 2, 8, 8], the model takes [N, 3, 8, 8]"),
        ({"x": images().astype("int32")}, "is int32, the model takes float32"),
        ({"x": images() * 0}, "is zero throughout"),
        ({"x": np.where(images() > 2, np.nan, images())}, "values that are not finite"),
        ({"x": images()[:0]}, "is empty"),
        ([], "there is no calibration data"),
        ("/nowhere/batch.npz", "/nowhere/batch.npz does not exist"),
    ],
)
def test_bad_calibration_data_is_refused(data, what):
    with pytest.raises(CalibrationError) as caught:
        quantize(small_cnn(), data)
    assert what in str(caught.value)


def test_a_quantised_model_is_refused():
    quantised = quantize(small_cnn(), {"x": images()})
    with pytest.raises(QuantizationError, match="quantised already"):
        quantize(quantised.proto, {"x": images()})


def test_a_model_without_integer_form_is_refused():
    model = float_model([helper.make_node("Softmax", ["x"], ["y"], "soft")], {})
    with pytest.raises(QuantizationError, match="soft: Softmax has no integer form"):
        quantize(model, {"x": images()})


def test_a_keep_that_names_nothing_is_an_error():
    with pytest.raises(UsageError, match='did you mean "conv1"'):
        quantize(small_cnn(), {"x": images()}, keep=["conv_1"])


def test_a_tensor_of_zeros_is_noted_and_rounds_to_zero():
    weights = {"w": np.zeros((4, 3, 1, 1), "float32")}
    model = float_model([helper.make_node("Conv", ["x", "w"], ["y"], "conv")], weights)
    quantised = quantize(model, {"x": images()})
    assert any("zero throughout" in note for note in quantised.notes)
    assert not run(quantised.proto, images()).any()


def test_quantising_twice_gives_the_same_bytes():
    first, second = (quantize(small_cnn(), {"x": images()}).proto.SerializeToString(deterministic=True) for _ in "ab")
    assert first == second


def test_a_sum_of_several_tensors_is_quantised_as_additions_of_two():
    value = helper.make_tensor_value_info
    random = np.random.default_rng(1)
    weights = [
        onnx.numpy_helper.from_array(random.standard_normal((3, 3, 1, 1), dtype=np.float32), f"w{k}") for k in range(3)
    ]
    nodes = [helper.make_node("Conv", ["x", f"w{k}"], [f"c{k}"], name=f"conv{k}") for k in range(3)]
    nodes.append(helper.make_node("Sum", ["c0", "c1", "c2"], ["y"], name="total"))
    io = [value(n, onnx.TensorProto.FLOAT, ["batch", 3, 4, 4]) for n in "xy"]
    graph = helper.make_graph(nodes, "sums", io[:1], io[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    x = np.random.default_rng(0).standard_normal((4, 3, 4, 4), dtype=np.float32)
    quantised = quantize(model, {"x": x})
    produced = {name: node.op_type for node in quantised.proto.graph.node for name in node.output}
    adds = [node for node in quantised.proto.graph.node if node.op_type == "Add"]
    assert len(adds) == 2
    assert all(produced[name] == "DequantizeLinear" for node in adds for name in node.input)
    assert decibels(run(model, x), run(quantised.proto, x)) > 25
