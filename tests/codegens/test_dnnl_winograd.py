"""dnnl: 3x3 and 5x5 convolutions by Winograd's minimal filtering."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

relax = pytest.importorskip("tvm.relax")

from tests.codegens.dnnl_ops import Compiled, check_against_host, needs_onednn  # noqa: E402
from tests.codegens.ops import random_array, relax_function  # noqa: E402

pytestmark = needs_onednn
op = relax.op


def weights(shape: tuple[int, ...], seed: int = 1) -> Any:
    return relax.const(random_array(shape, seed=seed) * 0.2, "float32")


def check(function: Any, x: np.ndarray) -> None:
    """That the results are the host's, and not bit by bit those of a direct convolution."""
    compiled = check_against_host(function, x, rtol=1e-4, atol=1e-4)
    direct = Compiled(function, winograd="off")
    assert not np.array_equal(compiled(x)[0], direct(x)[0])


@pytest.mark.parametrize(
    ("x", "w", "attrs"),
    [
        ((1, 64, 20, 20), (80, 64, 3, 3), {"padding": 1}),
        ((1, 65, 21, 23), (67, 65, 3, 3), {"padding": 1}),
        ((2, 56, 22, 19), (49, 56, 3, 3), {}),
        ((1, 64, 13, 31), (72, 64, 3, 3), {"padding": (0, 2, 2, 1)}),
        ((1, 40, 18, 17), (50, 40, 5, 5), {"padding": 2}),
        ((2, 17, 20, 20), (64, 17, 5, 5), {"padding": (2, 0, 1, 2)}),
        ((1, 80, 24, 24), (96, 40, 3, 3), {"padding": 1, "groups": 2}),
        ((1, 34, 21, 19), (102, 17, 5, 5), {"padding": 2, "groups": 2}),
        ((1, 64, 60, 120), (48, 64, 3, 3), {"padding": 1}),
        (("n", 48, 20, 20), (64, 48, 3, 3), {"padding": 1}),
    ],
)
def test_it_agrees_with_the_host(x, w, attrs):
    function = relax_function(lambda a: op.nn.conv2d(a, weights(w), **attrs), (x, "float32"))
    check(function, random_array([2 if d == "n" else d for d in x]))


@pytest.mark.parametrize(
    ("x", "w", "attrs"),
    [
        ((1, 96, 40, 40), (96, 96, 3, 3), {"padding": 1, "strides": 2}),
        ((1, 64, 24, 24), (64, 64, 3, 3), {"padding": 2, "dilation": 2}),
        ((1, 64, 20, 20), (64, 64, 3, 5), {"padding": (1, 2)}),
        ((1, 256, 7, 7), (256, 256, 3, 3), {"padding": 1}),
        ((1, 8, 80, 80), (64, 8, 3, 3), {"padding": 1}),
        ((1, 128, 28, 28), (32, 128, 3, 3), {"padding": 1}),
        ((1, 48, 12, 12), (48, 48, 3, 3), {"padding": 1}),
    ],
)
def test_what_it_does_not_fit_is_a_direct_convolution(x, w, attrs):
    function = relax_function(lambda a: op.nn.conv2d(a, weights(w), **attrs), (x, "float32"))
    array = random_array(x)
    np.testing.assert_array_equal(Compiled(function)(array)[0], Compiled(function, winograd="off")(array)[0])


def normal(a: Any) -> Any:
    bias = relax.const(random_array((1, 64, 1, 1), seed=3), "float32")
    return op.add(op.nn.conv2d(a, weights((64, 64, 3, 3)), padding=1), bias)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (normal, "convolution"),
        (lambda a: op.nn.relu(normal(a)), "convolution+relu"),
        (lambda a: op.clip(normal(a), -0.5, 0.5), "convolution+clip"),
        (lambda a: op.nn.relu(op.add(normal(a), a)), "convolution+sum+relu"),
        (lambda a: op.add(normal(a), op.nn.relu(normal(a))), "convolution+relu+sum"),
    ],
)
def test_bias_sum_and_clipping_are_applied_to_the_result(body, kind):
    function = relax_function(body, ((1, 64, 22, 21), "float32"))
    check(function, random_array((1, 64, 22, 21)))
    assert Compiled(function).kinds[-1] == kind


def test_part_of_the_channels_may_be_read():
    def body(a: Any) -> Any:
        first = op.nn.relu(op.nn.conv2d(a, weights((112, 16, 1, 1))))
        parts = op.split(first, [48], 1)
        left, right = relax.TupleGetItem(parts, 0), relax.TupleGetItem(parts, 1)
        return op.add(op.nn.conv2d(left, weights((64, 48, 3, 3)), padding=1), right)

    check(relax_function(body, ((1, 16, 26, 26), "float32")), random_array((1, 16, 26, 26)))


def test_a_result_that_is_no_number_stays_one():
    x = random_array((1, 64, 24, 24))
    x[0, 3, 6, 6] = np.nan
    function = relax_function(lambda a: op.nn.relu(op.nn.conv2d(a, weights((64, 64, 3, 3)))), (x.shape, "float32"))
    assert np.isnan(Compiled(function)(x)[0][0, :, 4:7, 4:7]).all()
