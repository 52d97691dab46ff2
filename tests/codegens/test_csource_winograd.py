"""3x3 convolutions by Winograd's filtering."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm import relax

from tests.codegens.ops import Compiled, check_against_host, random_array, relax_function

op = relax.op


def function(x: tuple, channels: int, then: Any = lambda y: y, kernel: int = 3, **attrs: Any) -> Any:
    weights = relax.const(random_array((channels, x[1], kernel, kernel), seed=1) * 0.1)
    return relax_function(lambda a: then(op.nn.conv2d(a, weights, **attrs)), (x, "float32"))


def uses_winograd(built: Any, **options: Any) -> bool:
    return "csource_winograd(&" in Compiled(built, **options).source.code


@pytest.mark.parametrize("isa", ["avx512", "avx2", "portable"])
@pytest.mark.parametrize(
    ("x", "channels", "padding"),
    [
        ((1, 32, 14, 14), 32, 1),
        ((2, 35, 13, 17), 41, (0, 1, 2, 1)),
        ((1, 32, 5, 150), 33, 0),
        ((1, 150, 60, 60), 32, 1),  # several bands of tiles
    ],
)
def test_the_result_is_the_hosts(isa, x, channels, padding):
    built = function(x, channels, padding=padding)
    assert uses_winograd(built, isa=isa)
    check_against_host(built, random_array(x), rtol=1e-4, atol=1e-4, isa=isa)


def test_bias_residual_and_activation_are_fused():
    bias, x = relax.const(random_array((1, 32, 1, 1), seed=2)), (1, 32, 15, 14)
    built = relax_function(
        lambda a: op.nn.relu(
            op.add(op.add(op.nn.conv2d(a, relax.const(random_array((32, 32, 3, 3), seed=1)), padding=1), bias), a)
        ),
        (x, "float32"),
    )
    assert uses_winograd(built)
    check_against_host(built, random_array(x), rtol=1e-4, atol=1e-4)


def test_an_image_that_holds_infinities_and_nan_spoils_only_pixels_near_them():
    x = random_array((1, 32, 16, 16))
    x[0, 3, 2, 2], x[0, 4, 13, 13] = np.inf, np.nan
    result = Compiled(function(x.shape, 32, padding=1))(x)
    spoiled = ~np.isfinite(result).all(axis=(0, 1))
    assert spoiled[2, 2] and spoiled[13, 13]
    assert not spoiled[5:11, 5:11].any()


@pytest.mark.parametrize(
    ("x", "channels", "attrs"),
    [
        ((1, 32, 14, 14), 32, {"strides": 2}),
        ((1, 32, 14, 14), 32, {"dilation": 2}),
        ((1, 32, 14, 14), 32, {"kernel": 5}),
        ((1, 16, 14, 14), 32, {}),
        ((1, 32, 7, 7), 32, {"padding": 1}),
    ],
)
def test_it_is_for_large_enough_3x3_kernels_without_stride(x, channels, attrs):
    assert not uses_winograd(function(x, channels, **attrs))


def test_it_can_be_switched_off():
    assert not uses_winograd(function((1, 32, 14, 14), 32), winograd="off")
