"""Resizing of images."""

from __future__ import annotations

import itertools

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper
from tvm import relax

from tests.codegens.ops import Compiled, check_against_host, random_array, refusal_of, relax_function

op = relax.op
SIZES = [(6, 8), (3, 4), (7, 5), (9, 12), (1, 2)]
METHODS = {"nearest_neighbor": "nearest", "linear": "linear", "cubic": "cubic"}
ROUNDINGS = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


def resized(x, size, symbolic=False, **attrs):
    shape = ("n", x.shape[1], "h", "w") if symbolic else x.shape
    function = relax_function(lambda x: op.image.resize2d(x, size, **attrs), (shape, str(x.dtype)))
    return Compiled(function)(x)


def onnx_resize(x, size, mode, how, rounding, **more):
    node = helper.make_node(
        "Resize",
        ["x", "", "", "s"],
        ["y"],
        mode=mode,
        coordinate_transformation_mode=how,
        nearest_mode=rounding,
        **more,
    )
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", kind, x.shape)],
        [helper.make_tensor_value_info("y", kind, None)],
        [helper.make_tensor("s", TensorProto.INT64, [4], [*x.shape[:2], *size])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", ["half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"])
def test_resizing_agrees_with_onnx_runtime(method, how):
    x = random_array((1, 2, 3, 4))
    for size in SIZES:
        if method == "nearest_neighbor" and how == "align_corners" and 1 in size:
            continue
        wanted = onnx_resize(x, size, METHODS[method], how, "round_prefer_floor")
        got = resized(x, size, method=method, coordinate_transformation_mode=how, rounding_method="round_prefer_floor")
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5, err_msg=f"{size}")


@pytest.mark.parametrize(("rounding", "how"), list(itertools.product(ROUNDINGS, ["half_pixel", "asymmetric"])))
def test_the_nearest_element_is_rounded_as_asked(rounding, how):
    x = random_array((1, 2, 3, 4))
    for size in SIZES[:4]:
        got = resized(x, size, method="nearest_neighbor", coordinate_transformation_mode=how, rounding_method=rounding)
        np.testing.assert_array_equal(got, onnx_resize(x, size, "nearest", how, rounding), err_msg=f"{size}")


@pytest.mark.parametrize(("how", "roi"), [("half_pixel", [0.0] * 4), ("tf_crop_and_resize", [0.1, 0.2, 1.2, 0.9])])
@pytest.mark.parametrize("method", METHODS)
def test_the_host_agrees_on_layout_nhwc_and_on_cropping(method, how, roi):
    def body(x):
        return op.image.resize2d(x, (7, 6), roi, "NHWC", method, how, "round", extrapolation_value=-1.5)

    x = random_array((2, 5, 4, 3))
    check_against_host(relax_function(body, (x.shape, "float32")), x)


def test_cubic_weights_outside_may_be_left_out():
    x = random_array((1, 1, 4, 4))
    wanted = onnx_resize(x, (8, 8), "cubic", "half_pixel", "floor", exclude_outside=1)
    np.testing.assert_allclose(resized(x, (8, 8), method="cubic", cubic_exclude=1), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float16"])
def test_nearest_moves_elements_of_any_dtype(dtype):
    x = random_array((1, 2, 3, 4), dtype)
    attrs = {"method": "nearest_neighbor", "coordinate_transformation_mode": "asymmetric", "rounding_method": "floor"}
    np.testing.assert_array_equal(resized(x, (6, 8), **attrs), x.repeat(2, 2).repeat(2, 3))
    np.testing.assert_array_equal(resized(x, (6, 8), symbolic=True, **attrs), x.repeat(2, 2).repeat(2, 3))


def test_layouts_with_blocks_of_channels_are_refused():
    function = relax_function(lambda x: op.image.resize2d(x, (4, 4), layout="NCHW4c"), ((1, 1, 2, 2, 4), "float32"))
    assert "NCHW4c" in refusal_of(function)
