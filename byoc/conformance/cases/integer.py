"""The integer ops of quantised models: types, zero points, factors by channel, geometry, clamps, dynamic sizes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from byoc.conformance.case import Case
from byoc.conformance.cases.make import SIZES, Shape, one, t, w, y
from byoc.quant.fixed_point import fixed_point

_RANGES = {"int8": (-128, 127), "uint8": (0, 255)}
_FACTORS = tuple(0.0007 * (1 + i % 5) for i in range(64))


def _ending(dtype: str, factors: tuple[float, ...], **more: Any) -> dict[str, Any]:
    """How totals end: in this type, with these factors."""
    low, high = _RANGES[dtype]
    fixed = fixed_point(factors)
    ending = {
        "multiplier": fixed.multiplier, "shift": fixed.shift, "y_zero": 7, "low": low, "high": high, "out_dtype": dtype,
        "x_scale": 1.0, "w_scale": tuple(float(f) for f in factors), "y_scale": 1.0,
    }  # fmt: skip
    return {**ending, **more}


def _cases() -> Iterator[Case]:
    for dtype in ("uint8", "int8"):
        zero = {"uint8": 128, "int8": -3}[dtype]
        yield _conv(f"{dtype}, padding", (2, 3, 9, 11), (5, 3, 3, 3), dtype, zero, padding=[1, 1, 1, 1])
        yield _matmul(f"{dtype}", (7, 33), (33, 40), dtype, zero)
        yield one("byoc.requantize", f"{dtype} to int8", t((3, 7, 11), dtype, "large"), x_zero=zero,
                  **_ending("int8", (0.75,)))  # fmt: skip
        yield one("byoc.qlinear_mean", f"{dtype}, over the image", t((2, 5, 4, 6), dtype, "large"), x_zero=zero,
                  axes=(2, 3), keepdims=1, **_ending(dtype, (1 / 24,)))  # fmt: skip
        yield one("byoc.qlinear_average_pool", f"{dtype}", t((2, 3, 8, 13), dtype, "large"), x_zero=zero,
                  pool_size=[2, 4], strides=[2, 3], padding=[0, 0, 0, 0], **_ending(dtype, (1 / 8,)))  # fmt: skip
    yield one("byoc.qlinear_average_pool", "padding does not count", t((2, 3, 7, 8), "uint8", "large"), x_zero=5,
              pool_size=[3, 2], strides=[2, 1], padding=[1, 1, 1, 0],
              **_ending("uint8", tuple(0.8713 / n for n in range(1, 7))))  # fmt: skip
    yield _conv("strides and dilation", (1, 3, 9, 11), (4, 3, 3, 2), "uint8", 3, strides=[2, 3], dilation=[2, 1])
    yield _conv("depthwise", (1, 6, 7, 7), (6, 1, 3, 3), "uint8", 0, groups=6, padding=[1, 1, 1, 1])
    yield _conv("one row", (1, 4, 17), (3, 4, 3), "uint8", 9, padding=[1, 1])
    yield _conv("many filters, a clamp", (1, 16, 5, 5), (37, 16, 1, 1), "uint8", 5, low=7, high=101)
    yield _conv("dynamic batch", ("n", 3, 7, 7), (4, 3, 3, 3), "uint8", 5, sizes=SIZES)
    yield _matmul("dynamic rows", ("n", 17), (17, 5), "uint8", 5, sizes=SIZES)
    yield _matmul("batches, threads", (2, 33, 64), (64, 48), "uint8", 100, threads=True)
    yield _sum("uint8", 3, 9)
    yield _sum("int8", -3, 0)
    yield one("byoc.qlinear_mean", "rows", t((3, 7, 11), "uint8", "large"), x_zero=5, axes=(2,), keepdims=0,
              **_ending("uint8", (1 / 11,)))  # fmt: skip
    yield one("byoc.matmul_integer", "uint8", t((5, 19), "uint8", "large"), w((), "uint8", "positive", name="zero"),
              w((19, 7), "int8", "large"))  # fmt: skip
    results = ("s0.0", "s0.1", "s0.2")
    yield one("byoc.dynamic_quantize", "odd size", t((5, 13)), results=results)
    yield one("byoc.dynamic_quantize", "above zero", t((3, 7), fill="positive"), results=results)


def _conv(what: str, shape: Shape, weights: Shape, dtype: str, zero: int, **more: Any) -> Case:
    rank = len(weights) - 2
    given = {"strides": [1] * rank, "dilation": [1] * rank, "padding": [0] * (2 * rank), "groups": 1, **more}
    run = {k: given.pop(k) for k in ("sizes", "threads") if k in given}
    ending = _ending(dtype, _FACTORS[: int(weights[0])], **given)
    bias = w((weights[0],), "int32", "index:1000", name="bias")
    return one("byoc.qlinear_conv", what, t(shape, dtype, "large"), w(weights, "int8", "large"), bias, x_zero=zero,
               **ending, **run)  # fmt: skip


def _matmul(what: str, shape: Shape, weights: tuple[int, int], dtype: str, zero: int, **run: Any) -> Case:
    bias = w((weights[1],), "int32", "index:1000", name="bias")
    return one("byoc.qlinear_matmul", what, t(shape, dtype, "large"), w(weights, "int8", "large"), bias, x_zero=zero,
               **_ending(dtype, _FACTORS[: weights[1]]), **run)  # fmt: skip


def _sum(dtype: str, a_zero: int, b_zero: int) -> Case:
    """Two multipliers share one shift."""
    shift = 20
    multiplier = tuple(int(np.rint(f * 2**shift)) for f in (0.613, 0.281))
    ending = _ending(dtype, (1.0,), multiplier=multiplier, shift=(shift,), a_scale=0.613, b_scale=0.281)
    tensors = t((3, 5, 7), dtype, "large"), y((3, 5, 7), dtype, "large")
    return one("byoc.qlinear_add", dtype, *tensors, a_zero=a_zero, b_zero=b_zero, **ending)


CASES = tuple(_cases())
