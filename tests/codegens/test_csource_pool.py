"""Pooling: maximum, average, average over bins."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm import relax

from tests.codegens.ops import Compiled, check_against_host, random_array, refusal_of, relax_function

op = relax.op
SIZES = {"n": 2, "h": 19, "w": 11}


def function(kind: str, x: tuple, dtype: str = "float32", **attrs: Any) -> Any:
    pool = getattr(op.nn, f"{kind}_pool{len(x) - 2}d")
    return relax_function(lambda a: pool(a, **attrs), (x, dtype))


def check(kind: str, x: tuple, dtype: str = "float32", **attrs: Any) -> None:
    tolerance = 5e-3 if dtype == "float16" else 1e-5
    image = random_array([SIZES.get(d, d) for d in x], dtype)
    check_against_host(function(kind, x, dtype, **attrs), image, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize("count_include_pad", [False, True])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(
    ("x", "attrs"),
    [
        ((2, 3, 17, 19), {"pool_size": 3, "strides": 2, "padding": (1, 0, 2, 1)}),
        ((2, 3, 17, 19), {"pool_size": (2, 3), "strides": (3, 1), "padding": 1, "dilation": (2, 2)}),
        (("n", 3, "h", "w"), {"pool_size": 3, "strides": 2, "padding": 1}),
        ((1, 2, 200), {"pool_size": 3, "strides": 3, "padding": (0, 1)}),
    ],
)
def test_windows(kind, count_include_pad, ceil_mode, x, attrs):
    check(kind, x, count_include_pad=count_include_pad, ceil_mode=ceil_mode, **attrs)


@pytest.mark.parametrize("kind", ["max", "avg"])
def test_three_axes_and_an_empty_batch(kind):
    check(kind, (1, 2, 5, 6, 7), pool_size=(2, 3, 2), strides=(1, 2, 2), padding=1)
    check(kind, (0, 2, 9, 9), pool_size=3)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(k, d) for k in ("max", "avg") for d in ("float16", "float64")] + [("max", "int8"), ("max", "uint8")],
)
def test_other_dtypes(kind, dtype):
    check(kind, (1, 2, 9, 9), dtype, pool_size=3, strides=2, padding=1)


def test_windows_of_minus_infinity_stay_minus_infinity():
    x = np.full((1, 1, 4, 4), -np.inf, "float32")
    assert np.all(Compiled(function("max", x.shape, pool_size=2, strides=2))(x) == -np.inf)


@pytest.mark.parametrize(
    ("x", "size"),
    [
        ((2, 3, 7, 7), 1),
        ((2, 3, 70), 1),
        ((2, 3, 17, 19), (3, 5)),
        (("n", 3, "h", "w"), 1),
        ((2, 3, 7, 6, 5), (3, 2, 2)),
    ],
)
def test_bins(x, size):
    check("adaptive_avg", x, output_size=size)
    check("adaptive_avg", x, "float16", output_size=size)


def test_an_average_of_integers_is_refused():
    assert refusal_of(function("avg", (1, 2, 9, 9), "int32", pool_size=3)) == "nn.avg_pool2d of int32 is not done"


@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize(
    ("x", "attrs"),
    [
        ((1, 2, 14, 14), {"pool_size": 3, "padding": 1}),
        ((1, 3, 4, 150), {"pool_size": 3, "strides": 2, "padding": (0, 1)}),  # rows in several pieces
        ((1, 2, 5, 700), {"pool_size": (2, 9), "strides": (1, 9), "padding": (0, 4)}),  # windows far apart
        ((1, 2, 3, 600), {"pool_size": (3, 500)}),  # wide windows
        ((1, 1, 1, 5), {"pool_size": (1, 5), "padding": (0, 4)}),
    ],
)
def test_rows_longer_and_shorter_than_a_vector(kind, x, attrs):
    check(kind, x, **attrs)
