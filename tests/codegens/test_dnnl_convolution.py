"""dnnl: convolutions, transposed convolutions, pooling, and what is fused into them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

relax = pytest.importorskip("tvm.relax")

from tests.codegens.dnnl_ops import Compiled, check_against_host, needs_onednn, refusal_of  # noqa: E402
from tests.codegens.ops import random_array, relax_function  # noqa: E402

pytestmark = needs_onednn
op = relax.op


def weights(shape: tuple[int, ...], seed: int = 1) -> Any:
    return relax.const(random_array(shape, seed=seed) * 0.2, "float32")


@pytest.mark.parametrize(
    ("x", "w", "attrs"),
    [
        ((1, 3, 23, 19), (16, 3, 7, 7), {"strides": 2, "padding": 3}),
        ((2, 16, 14, 14), (32, 16, 1, 1), {}),
        ((1, 7, 9, 11), (5, 7, 3, 2), {"padding": (0, 1, 2, 0)}),
        ((1, 32, 12, 12), (32, 1, 3, 3), {"padding": 1, "groups": 32}),
        ((1, 12, 10, 10), (18, 4, 3, 3), {"padding": 1, "groups": 3, "strides": (2, 1)}),
        ((2, 12, 10, 10), (18, 4, 3, 3), {"padding": 1, "groups": 3, "dilation": 2}),
        ((1, 32, 10, 10), (64, 16, 1, 1), {"groups": 2}),
        ((1, 8, 17, 17), (8, 8, 3, 3), {"padding": 2, "dilation": 2}),
        ((3, 4, 30), (6, 4, 5), {"padding": 2}),
        ((1, 4, 6, 7, 8), (8, 4, 3, 3, 3), {"padding": 1, "strides": (1, 2, 1)}),
        (("n", 16, 14, 14), (16, 16, 3, 3), {"padding": 1}),
    ],
)
def test_a_convolution_agrees_with_the_host(x, w, attrs):
    conv = getattr(op.nn, f"conv{len(x) - 2}d")
    function = relax_function(lambda a: conv(a, weights(w), **attrs), (x, "float32"))
    check_against_host(function, random_array([2 if d == "n" else d for d in x]), rtol=1e-4, atol=1e-4)


def test_weights_may_be_computed_at_run_time():
    function = relax_function(
        lambda a, w: op.nn.conv2d(a, w, padding=1), ((1, 4, 8, 8), "float32"), ((6, 4, 3, 3), "float32")
    )
    check_against_host(function, random_array((1, 4, 8, 8)), random_array((6, 4, 3, 3)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("x", "w", "attrs"),
    [
        ((1, 8, 7, 9), (8, 5, 3, 3), {"strides": 2, "padding": 1, "output_padding": 1}),
        ((2, 6, 5, 5), (6, 4, 2, 2), {"strides": (2, 2)}),
        ((1, 8, 6, 6), (8, 2, 3, 3), {"groups": 4, "padding": (0, 1, 1, 0)}),
    ],
)
def test_a_transposed_convolution_agrees_with_the_host(x, w, attrs):
    function = relax_function(lambda a: op.nn.conv2d_transpose(a, weights(w), **attrs), (x, "float32"))
    check_against_host(function, random_array(x), rtol=1e-4, atol=1e-4)


def activations() -> list[Any]:
    return [
        (op.nn.relu, "relu"),
        (op.nn.gelu, "gelu_erf"),
        (op.nn.gelu_tanh, "gelu_tanh"),
        (op.nn.silu, "swish"),
        (op.sigmoid, "logistic"),
        (op.tanh, "tanh"),
        (lambda a: op.nn.leakyrelu(a, 0.1), "relu"),
        (lambda a: op.clip(a, 0, 6), "clip"),
    ]


@pytest.mark.parametrize(("activation", "name"), activations(), ids=[n for _, n in activations()])
def test_bias_and_activation_become_part_of_the_convolution(activation, name):
    bias = relax.const(random_array((1, 16, 1, 1), seed=3), "float32")
    function = relax_function(
        lambda a: activation(op.add(op.nn.conv2d(a, weights((16, 8, 3, 3)), padding=1), bias)),
        ((1, 8, 12, 12), "float32"),
    )
    compiled = check_against_host(function, random_array((1, 8, 12, 12)), rtol=1e-4, atol=1e-4)
    assert compiled.kinds == [f"convolution+{name}"]


def residual(a: Any, twice: bool) -> Any:
    first = op.nn.relu(op.nn.conv2d(a, weights((16, 16, 1, 1))))
    second = op.nn.conv2d(first, weights((16, 16, 3, 3), 2), padding=1)
    last = op.nn.relu(op.add(second, first))
    return op.multiply(last, first) if twice else last


@pytest.mark.parametrize("twice", [False, True])
def test_a_residual_is_added_in_place_only_where_nothing_reads_it_later(twice):
    function = relax_function(lambda a: residual(a, twice), ((1, 16, 10, 10), "float32"))
    compiled = check_against_host(function, random_array((1, 16, 10, 10)), rtol=1e-3, atol=1e-4)
    assert compiled.kinds[-1] == "convolution+sum+relu" + "+binary_mul" * twice


def test_an_input_that_is_added_stays_as_it_was():
    function = relax_function(lambda a: op.add(op.nn.conv2d(a, weights((8, 8, 1, 1))), a), ((1, 8, 6, 6), "float32"))
    x = random_array((1, 8, 6, 6))
    before = x.copy()
    check_against_host(function, x, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize("count_include_pad", [False, True])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(
    ("x", "attrs"),
    [
        ((2, 3, 17, 19), {"pool_size": 3, "strides": 2, "padding": (1, 0, 2, 1)}),
        ((1, 16, 13, 14), {"pool_size": (2, 3), "strides": (3, 1), "padding": 1}),
        ((1, 2, 50), {"pool_size": 3, "strides": 3, "padding": (0, 1)}),
        (("n", 3, 9, 9), {"pool_size": 2, "strides": 2}),
    ],
)
def test_pooling_agrees_with_the_host(kind, count_include_pad, ceil_mode, x, attrs):
    pool = getattr(op.nn, f"{kind}_pool{len(x) - 2}d")
    function = relax_function(
        lambda a: pool(a, count_include_pad=count_include_pad, ceil_mode=ceil_mode, **attrs), (x, "float32")
    )
    if kind == "avg" and count_include_pad and ceil_mode and len(x) == 4 and 16 not in x:
        assert refusal_of(function) == "averages that count padding do not reach beyond it"
    else:
        check_against_host(function, random_array([2 if d == "n" else d for d in x]))


def test_global_averages_agree_with_the_host():
    function = relax_function(
        lambda a: [op.nn.adaptive_avg_pool2d(a, 1), op.mean(a, [2, 3], keepdims=False)], ((2, 24, 7, 5), "float32")
    )
    check_against_host(function, random_array((2, 24, 7, 5)))


def test_branches_that_are_joined_by_channels():
    def body(a: Any) -> Any:
        left = op.nn.relu(op.nn.conv2d(a, weights((16, 8, 1, 1))))
        right = op.nn.relu(op.nn.conv2d(a, weights((7, 8, 3, 3), 2), padding=1))
        pooled = op.nn.max_pool2d(a, 3, 1, 1)
        joined = op.concat([left, right, pooled], axis=1)
        return op.concat([joined, op.nn.conv2d(joined, weights((5, 31, 1, 1)))], axis=1)

    function = relax_function(body, ((2, 8, 9, 9), "float32"))
    check_against_host(function, random_array((2, 8, 9, 9)), rtol=1e-4, atol=1e-4)


def test_channels_are_shuffled_between_grouped_convolutions():
    def body(a: Any) -> Any:
        first = op.nn.conv2d(a, weights((16, 4, 1, 1)), groups=4)
        shuffled = op.reshape(op.permute_dims(op.reshape(first, (1, 4, 4, 8, 8)), (0, 2, 1, 3, 4)), (1, 16, 8, 8))
        return op.nn.conv2d(shuffled, weights((16, 1, 3, 3), 2), padding=1, groups=16)

    function = relax_function(body, ((1, 16, 8, 8), "float32"))
    check_against_host(function, random_array((1, 16, 8, 8)), rtol=1e-4, atol=1e-4)


def test_groups_of_few_channels_are_one_product():
    x, w = random_array((1, 8, 6, 6)), weights((12, 2, 1, 1))
    function = relax_function(lambda a: op.nn.conv2d(a, w, groups=4), (x.shape, "float32"))
    compiled = check_against_host(function, x)
    assert compiled.program.ops[0].inputs[1].shape == (12, 8, 1, 1)
    (by_channel,) = Compiled(
        relax_function(lambda a: op.nn.conv2d(a, weights((8, 1, 3, 3)), groups=8), (x.shape, "float32"))
    ).program.ops
    assert by_channel.inputs[1].shape == (8, 1, 3, 3)


def test_local_response_normalisation_is_recognised():
    def body(a: Any) -> Any:
        squares = op.nn.pad(op.multiply(a, a), (0, 0, 2, 2, 0, 0, 0, 0))
        total = op.strided_slice(squares, [1], [0], [6])
        for first in range(1, 5):
            total = op.add(total, op.strided_slice(squares, [1], [first], [first + 6]))
        scale = op.add(op.multiply(total, relax.const(np.float32(0.02))), relax.const(np.float32(1)))
        return op.divide(a, op.power(scale, relax.const(np.float32(0.75))))

    function = relax_function(body, ((1, 6, 5, 5), "float32"))
    compiled = check_against_host(function, random_array((1, 6, 5, 5)))
    assert compiled.kinds == ["lrn"]


def test_a_batch_of_any_size_keeps_one_set_of_packed_weights():
    function = relax_function(
        lambda a: op.nn.relu(op.nn.conv2d(a, weights((16, 8, 3, 3)), padding=1)), (("n", 8, 10, 10), "float32")
    )
    compiled = Compiled(function)
    for size in (1, 3, 2, 3, 1):
        check = compiled(random_array((size, 8, 10, 10), seed=size))[0]
        alone = Compiled(function)(random_array((size, 8, 10, 10), seed=size))[0]
        np.testing.assert_allclose(check, alone, rtol=1e-5, atol=1e-5)


def test_other_layouts_and_types_are_refused_with_a_reason():
    nhwc = relax_function(
        lambda a, w: op.nn.conv2d(a, w, data_layout="NHWC"), ((1, 8, 8, 4), "float32"), ((8, 4, 3, 3), "float32")
    )
    assert refusal_of(nhwc) == "takes the layout NCHW, not NHWC"
    double = relax_function(lambda a: op.nn.relu(a), ((2, 2), "float64"))
    assert refusal_of(double) == "takes float32 tensors, not float64"
