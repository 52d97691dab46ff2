"""Convolutions and matrix products on the host, against ONNX Runtime: every size of tile, every kind of window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import byoc
from tests.imported import make_model, node

SIZES = {"N": 2, "M": 5, "L": 70, "K": 9}


def check(
    tmp_path: Path, nodes: list, inputs: dict[str, list], weights: dict[str, np.ndarray], mcpu: str | None = None
) -> None:
    """The host's result is that of ONNX Runtime to 1e-5 of its largest element."""
    rng = np.random.default_rng(0)
    model = onnx.helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info(k, TensorProto.FLOAT, shape) for k, shape in inputs.items()],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(v, k) for k, v in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=9,
    )
    values = {k: rng.standard_normal([SIZES.get(d, d) for d in shape]).astype("float32") for k, shape in inputs.items()}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, values)
    byoc.compile(model, mcpu=mcpu, use_cache=False).save(tmp_path / "m.byoc")
    with byoc.load(tmp_path / "m.byoc") as session:
        got = session.run(values)["y"]
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5 * max(np.abs(wanted).max(initial=0), 1e-30))


def compiled_result(model: onnx.ModelProto, values: dict[str, np.ndarray]) -> np.ndarray:
    """The output `y`; unlike `run_on_host`, compiling puts the kernels in the place of the ops."""
    with byoc.compile(model, use_cache=False).session() as session:
        return np.array(session.run(values)["y"])


@pytest.mark.parametrize(
    ("channels", "outputs", "kernel", "image", "attributes"),
    [
        (16, 64, (3, 3), (14, 14), {"pads": [1, 1, 1, 1]}),
        (3, 20, (7, 7), (31, 33), {"pads": [3, 3, 3, 3], "strides": [2, 2]}),
        (24, 30, (3, 3), (13, 11), {"pads": [1, 1, 1, 1], "dilations": [2, 2], "group": 3}),
        (33, 33, (3, 3), (9, 9), {"pads": [0, 1, 2, 1], "strides": [2, 1], "group": 33}),
        (4, 8, (3, 3), (6, 6), {"group": 4}),
        (16, 40, (1, 1), (7, 5), {}),
        (8, 16, (1, 1), (9, 9), {"strides": [2, 2]}),
        (512, 80, (3, 3), (7, 7), {"pads": [1, 1, 1, 1]}),
        (4, 5, (5, 5), (5, 5), {}),
    ],
)
@pytest.mark.parametrize("batch", [1, "N"])
def test_a_convolution_with_bias_residual_and_relu(
    tmp_path: Path, channels: int, outputs: int, kernel: tuple, image: tuple, attributes: dict, batch: int | str
) -> None:
    rng = np.random.default_rng(1)
    weights = {
        "w": rng.standard_normal((outputs, channels // attributes.get("group", 1), *kernel)).astype("float32"),
        "b": rng.standard_normal(outputs).astype("float32"),
        "w2": rng.standard_normal((outputs, outputs, 1, 1)).astype("float32"),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], **attributes),
        helper.make_node("Conv", ["c", "w2"], ["d"]),
        helper.make_node("Add", ["d", "c"], ["e"]),
        helper.make_node("Relu", ["e"], ["y"]),
    ]
    check(tmp_path, nodes, {"x": [batch, channels, *image]}, weights)


def test_a_convolution_of_images_of_any_size(tmp_path: Path) -> None:
    weights = {"w": np.random.default_rng(1).standard_normal((24, 8, 3, 3)).astype("float32")}
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1], strides=[1, 2])
    check(tmp_path, [node], {"x": ["N", 8, "K", "L"]}, weights)


@pytest.mark.parametrize(
    ("shape", "weight"),
    [([1, 100], (100, 10)), ([2, 7, 33], (33, 70)), (["M", 33], (33, 1000)), (["N", "L", 64], (64, 17))],
)
def test_a_matrix_product_with_constant_weights_bias_and_gelu(tmp_path: Path, shape: list, weight: tuple) -> None:
    rng = np.random.default_rng(1)
    weights = {
        "w": rng.standard_normal(weight).astype("float32"),
        "b": rng.standard_normal(weight[1]).astype("float32"),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["t"]),
        helper.make_node("Add", ["t", "b"], ["u"]),
        helper.make_node("Gelu", ["u"], ["y"]),
    ]
    check(tmp_path, nodes, {"x": shape}, weights)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ([2, 3, 5, 7], [2, 3, 7, 9]),
        ([2, 3, 5, 7], [3, 7, 9]),
        ([3, 5, 7], [2, 1, 7, 9]),
        ([2, 70, 7], [2, 7, 70]),
        (["N", 3, "M", 7], ["N", 3, 7, "L"]),
        (["N", "L", "K"], ["N", "K", "M"]),
        (["N", "L", "K"], ["N", "K", "L"]),
    ],
)
def test_a_product_of_two_batches_of_matrices(tmp_path: Path, left: list, right: list) -> None:
    check(tmp_path, [helper.make_node("MatMul", ["x", "z"], ["y"])], {"x": left, "z": right}, {})


def test_a_product_of_one_matrix_in_several_dimensions(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    check(tmp_path, [node], {"x": [1, 1, 5, 3], "w": [1, 1, 3, 7]}, {})


@pytest.mark.parametrize("mcpu", ["haswell", "x86-64"])
@pytest.mark.parametrize(("outputs", "kernel", "group"), [(45, 3, 1), (32, 3, 32), (40, 1, 4)])
def test_a_convolution_in_the_registers_of_older_processors(
    tmp_path: Path, mcpu: str, outputs: int, kernel: int, group: int
) -> None:
    weights = {"w": np.random.default_rng(1).standard_normal((outputs, 32 // group, kernel, kernel)).astype("float32")}
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], group=group), helper.make_node("Sigmoid", ["c"], ["y"])]
    check(tmp_path, nodes, {"x": [1, 32, 9, 11]}, weights, mcpu)


@pytest.mark.parametrize("mcpu", ["haswell", "x86-64"])
@pytest.mark.parametrize("rows", [1, 7, "M", "L"])
def test_a_matrix_product_in_the_registers_of_older_processors(tmp_path: Path, mcpu: str, rows: int | str) -> None:
    weights = {"w": np.random.default_rng(1).standard_normal((33, 77)).astype("float32")}
    check(tmp_path, [helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": [rows, 33]}, weights, mcpu)
    check(tmp_path, [helper.make_node("MatMul", ["x", "z"], ["y"])], {"x": [rows, "K"], "z": ["K", "L"]}, {}, mcpu)


@pytest.mark.parametrize("columns", [1, 7, 16, 50])
@pytest.mark.parametrize("rows", [1, 6, "m"])
def test_a_product_of_int32_matrices_wraps_around_as_int32_does(rows: int | str, columns: int) -> None:
    rng = np.random.default_rng(2)
    left = rng.integers(-(2**31), 2**31, (6 if rows == "m" else rows, 9), np.int32)
    right = rng.integers(-(2**31), 2**31, (9, columns), np.int32)
    inputs = {"x": ("int32", [rows, 9]), "z": ("int32", [9, columns])}
    got = compiled_result(make_model([node("MatMul", "x z")], inputs), {"x": left, "z": right})
    assert got.dtype == np.int32
    assert np.array_equal(got, left @ right)


@pytest.mark.parametrize(
    ("left", "right"), [((0, 9), (9, 33)), ((5, 0), (0, 33)), ((5, 9), (9, 0)), ((0, 5, 9), (9, 33))]
)
@pytest.mark.parametrize("symbolic", [False, True])
def test_a_product_with_an_empty_matrix(left: tuple, right: tuple, symbolic: bool) -> None:
    """An empty sum is zero."""
    names = ["a", "b", "c"][-len(left) :]
    inputs = {
        "x": ("float32", names if symbolic else list(left)),
        "z": ("float32", [names[-1], "d"] if symbolic else list(right)),
    }
    values = {"x": np.ones(left, np.float32), "z": np.ones(right, np.float32)}
    got = compiled_result(make_model([node("MatMul", "x z")], inputs), values)
    wanted = values["x"] @ values["z"]
    assert got.shape == wanted.shape
    assert np.array_equal(got, wanted)


def test_a_convolution_of_no_images() -> None:
    weights = {"w": np.ones((4, 3, 3, 3), np.float32)}
    model = make_model([node("Conv", "x w", pads=[1, 1, 1, 1])], {"x": ("float32", ["n", 3, 5, 6])}, weights=weights)
    got = compiled_result(model, {"x": np.ones((0, 3, 5, 6), np.float32)})
    assert got.shape == (0, 4, 5, 6)
