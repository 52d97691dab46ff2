"""Convolutions and transposed convolutions, alone and with what follows them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tvm import relax

from tests.codegens.ops import check_against_host, patterns_of, random_array, refusal_of, relax_function

op = relax.op
SIZES = {"n": 2, "h": 9, "w": 11}
F32 = "float32"


def identity(y: Any) -> Any:
    return y


def number(value: float) -> Any:
    return relax.const(np.float32(value))


def function(
    x: tuple,
    w: tuple,
    *,
    dtype: str = F32,
    constant: bool = True,
    suffix: str = "",
    then: Callable = identity,
    **attrs: Any,
) -> Any:
    """conv1d/2d/3d (`suffix` may make it transposed) of x by w, followed by `then`."""
    convolve = getattr(op.nn, f"conv{len(x) - 2}d{suffix}")
    if not constant:
        return relax_function(lambda a, b: then(convolve(a, b, **attrs)), (x, dtype), (w, dtype))
    weights = relax.const(random_array(w, dtype, 1), dtype)
    return relax_function(lambda a: then(convolve(a, weights, **attrs)), (x, dtype))


def check(x: tuple, w: tuple, *, dtype: str = F32, constant: bool = True, isa: str = "native", **more: Any) -> None:
    image = random_array([SIZES.get(d, d) for d in x], dtype)
    arrays = [image] if constant else [image, random_array(w, dtype, 1)]
    tolerance = 2e-2 if dtype == "float16" else 1e-4
    built = function(x, w, dtype=dtype, constant=constant, **more)
    check_against_host(built, *arrays, rtol=tolerance, atol=tolerance, isa=isa)


@pytest.mark.parametrize("isa", ["avx512", "avx2", "portable"])
@pytest.mark.parametrize(
    ("x", "w", "attrs"),
    [
        ((1, 3, 9, 11), (5, 3, 3, 3), {}),
        ((2, 3, 9, 11), (5, 3, 3, 2), {"padding": (1, 0, 2, 3), "strides": (2, 3), "dilation": (1, 2)}),
        ((1, 16, 7, 7), (64, 16, 3, 3), {"padding": 1}),
        ((1, 6, 13, 14), (6, 1, 3, 3), {"padding": 1, "groups": 6}),
    ],
)
def test_each_vector_width_gives_the_host_result(isa, x, w, attrs):
    check(x, w, isa=isa, **attrs)


@pytest.mark.parametrize(
    ("x", "w", "attrs"),
    [
        ((1, 16, 7, 7), (64, 16, 1, 1), {}),
        ((1, 16, 7, 9), (24, 16, 1, 1), {"strides": 2}),
        ((1, 16, 7, 7), (24, 16, 1, 1), {"padding": 1}),
        ((1, 600, 9, 6), (140, 600, 3, 3), {"padding": 1}),
        ((1, 4, 1, 1), (3, 4, 3, 3), {"padding": 1}),
        ((0, 4, 9, 9), (6, 4, 3, 3), {}),
        ((2, 8, 33), (16, 8, 3), {"padding": (0, 2), "strides": 2}),
        ((1, 4, 5, 6, 7), (6, 2, 3, 2, 3), {"padding": (1, 0, 2, 1, 1, 0), "strides": (2, 1, 2), "groups": 2}),
    ],
)
def test_pointwise_deep_tiny_empty_and_other_ranks(x, w, attrs):
    check(x, w, **attrs)


@pytest.mark.parametrize(
    ("x", "w", "attrs"),
    [
        ((1, 16, 13, 14), (24, 4, 3, 3), {"padding": 1, "groups": 4}),
        ((2, 8, 13, 74), (16, 1, 5, 5), {"padding": 2, "groups": 8, "strides": 2}),
        ((2, 8, 13, 74), (16, 1, 3, 2), {"groups": 8, "strides": (1, 3), "dilation": (2, 3)}),
        ((2, 8, 40), (8, 1, 3), {"groups": 8, "padding": (2, 0)}),
    ],
)
def test_groups_and_depthwise(x, w, attrs):
    check(x, w, **attrs)


@pytest.mark.parametrize(
    ("x", "w", "attrs"),
    [
        (("n", 4, "h", "w"), (6, 4, 3, 3), {"padding": 1, "strides": 2}),
        (("n", 4, "h", "w"), (6, 4, 1, 1), {}),
        (("n", 4, "h", 8), (4, 1, 3, 3), {"padding": 1, "groups": 4}),
    ],
)
def test_symbolic_batch_and_image(x, w, attrs):
    check(x, w, **attrs)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_weights_that_are_an_input(groups):
    check((2, 4, 9, 9), (8, 4 // groups, 3, 3), constant=False, padding=1, groups=groups)


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32", "int8"])
def test_other_dtypes(dtype):
    more = {"out_dtype": "int32"} if dtype == "int8" else {}
    check((2, 4, 9, 9), (6, 2, 3, 3), dtype=dtype, padding=1, strides=2, groups=2, **more)


def hard_swish(y):
    return op.multiply(y, op.divide(op.clip(op.add(y, number(3)), 0, 6), number(6)))


def gelu_divided(y):
    return op.multiply(op.multiply(y, op.add(op.erf(op.divide(y, number(math.sqrt(2)))), number(1))), number(0.5))


def gelu_multiplied(y):
    return op.multiply(op.multiply(y, number(0.5)), op.add(number(1), op.erf(op.multiply(y, number(math.sqrt(0.5))))))


ACTIVATIONS = [op.nn.relu, op.sigmoid, op.tanh, op.nn.silu, op.nn.gelu, op.nn.gelu_tanh, hard_swish, gelu_divided]
ACTIVATIONS += [gelu_multiplied, lambda y: op.clip(y, -0.5, 0.5), lambda y: op.nn.leakyrelu(y, 0.1)]
ACTIVATIONS += [lambda y: op.multiply(y, op.sigmoid(y))]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_activation_is_fused(activation):
    bias = relax.const(random_array((1, 6, 1, 1), seed=3))
    shapes = (1, 4, 9, 9), (6, 4, 3, 3)
    then = {"then": lambda y: activation(op.add(y, bias))}
    assert patterns_of(function(*shapes, **then)) == ["conv_add_activation"]
    check(*shapes, **then)


def test_an_unknown_constant_is_no_activation():
    built = function((1, 4, 9, 9), (6, 4, 3, 3), then=lambda y: op.multiply(y, op.divide(op.clip(op.add(y, number(2)), 0, 6), number(6))))  # noqa: E501 # fmt: skip
    assert patterns_of(built)[0] == "conv"


@pytest.mark.parametrize("pixels", [7, 20])
def test_bias_residual_and_relu_are_fused_whichever_side_the_residual_is_on(pixels):
    bias = relax.const(random_array((6, 1, 1), seed=3))
    residual = relax.const(random_array((1, 6, pixels, pixels), seed=4))
    for then in (lambda y: op.add(residual, op.add(y, bias)), lambda y: op.add(op.add(bias, y), residual)):
        more = {"then": lambda y, then=then: op.nn.relu(then(y)), "padding": 1}
        shapes = (1, 4, pixels, pixels), (6, 4, 3, 3)
        assert patterns_of(function(*shapes, **more)) == ["conv_add_add_activation"]
        check(*shapes, **more)


def test_a_convolution_whose_result_is_used_twice_is_not_swallowed():
    built = function((1, 4, 9, 9), (6, 4, 3, 3), then=lambda y: [op.nn.relu(y), y])
    assert patterns_of(built)[0] == "conv"


def test_something_added_that_is_no_bias_is_left_to_its_own_kernel():
    rows = relax.const(random_array((1, 1, 7, 1), seed=3))
    assert patterns_of(function((1, 4, 9, 9), (6, 4, 3, 3), then=lambda y: op.add(y, rows))) == ["conv", "add"]


@pytest.mark.parametrize("isa", ["avx512", "portable"])
@pytest.mark.parametrize(
    ("x", "w", "attrs"),
    [
        ((2, 4, 9, 11), (4, 5, 3, 3), {}),
        ((2, 4, 9, 11), (4, 5, 3, 3), {"strides": 2, "padding": 1, "output_padding": 1}),
        ((2, 4, 9), (4, 5, 4), {"strides": 3, "padding": (1, 2), "output_padding": 2, "dilation": 2}),
        ((2, 4, 9, 11), (4, 5, 3, 3), {"groups": 2, "strides": 2}),
        ((2, 4, 5, 6, 7), (4, 5, 3, 2, 3), {"strides": 2}),
        (("n", 4, "h", "w"), (4, 5, 3, 3), {"strides": 2, "padding": 1}),
    ],
)
def test_transposed_convolutions(isa, x, w, attrs):
    check(x, w, isa=isa, suffix="_transpose", **attrs)


def test_a_transposed_convolution_with_a_bias_weights_as_input_and_in_half_precision():
    bias = relax.const(random_array((1, 5, 1, 1), seed=3))
    attrs = {"suffix": "_transpose", "strides": 2}
    check((2, 4, 9, 11), (4, 5, 3, 3), then=lambda y: op.nn.relu(op.add(y, bias)), **attrs)
    check((2, 4, 9, 11), (4, 5, 3, 3), constant=False, groups=2, **attrs)
    check((2, 4, 9, 11), (4, 5, 3, 3), dtype="float16", **attrs)


def test_other_layouts_and_dtypes_are_refused_with_the_reason():
    nhwc = relax_function(lambda x, w: op.nn.conv2d(x, w, data_layout="NHWC"), ((1, 9, 9, 4), F32), ((6, 4, 3, 3), F32))
    assert refusal_of(nhwc) == "nn.conv2d takes data_layout=NCHW, not NHWC"
    built = function((1, 4, 9, 9), (4, 6, 3, 3), dtype="float64", suffix="_transpose")
    assert refusal_of(built) == "nn.conv2d_transpose of float64 by float64 to float64 is not done"
