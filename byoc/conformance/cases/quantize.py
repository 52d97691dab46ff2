"""Quantisation: types, saturation, one scale for all or for each channel; integer products between Q and DQ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from byoc.conformance.case import Case, Operand, Step
from byoc.conformance.cases.make import one, t, w, y


def _scale(shape: tuple[int, ...] = (), name: str = "scale") -> Operand:
    return w(shape, fill="positive", name=name)


def _cases() -> Iterator[Case]:
    for dtype in ("int8", "uint8"):
        zero = w((), dtype, "positive", name="zero")
        yield one("quantize", f"one scale, {dtype}", t((5, 17)), _scale(), zero, axis=-1, out_dtype=dtype)
        yield one("dequantize", f"one scale, {dtype}", t((5, 17), dtype, "large"), _scale(), zero, axis=-1,
                  out_dtype="float32")  # fmt: skip
    zeros = w((3,), "int8", "zero", name="zero")
    yield one("quantize", "by channel", t((2, 3, 5)), _scale((3,)), zeros, axis=1, out_dtype="int8")
    yield one("dequantize", "by channel", t((2, 3, 5), "int8", "large"), _scale((3,)), zeros, axis=1,
              out_dtype="float32")  # fmt: skip
    yield _saturating()
    for dtype in ("int8", "uint8"):
        yield _sum(dtype)
    image = t((2, 3, 9, 11), "uint8", "large")
    yield _between("nn.conv2d", image, w((5, 3, 3, 3), "int8", "large"), "uint8, padding", padding=[1, 1])
    yield _between("nn.conv2d", image, w((5, 3, 3, 2), "int8", "large"), "uint8, strides and dilation",
                   strides=[2, 3], dilation=[2, 1], padding=[0, 1])  # fmt: skip
    yield _between("nn.conv2d", image, w((37, 3, 1, 1), "int8", "large"), "many filters")
    yield _between("matmul", t((7, 33), "uint8", "large"), w((33, 40), "int8", "large"), "uint8")
    yield _between("matmul", t((5, 17), "int8", "large"), w((17, 7), "int8", "large"))
    yield _between("nn.conv2d", t((1, 3, 7, 7), "int8", "large"), w((4, 3, 3, 3), "int8", "large"))


def _saturating() -> Case:
    """exp(exp(x)) reaches far beyond the type at a scale of one; its sign is that of another tensor."""
    steps = (
        Step("exp", ("x",)),
        Step("exp", ("s0",)),
        Step("multiply", ("s1", "sign")),
        Step("quantize", ("s2", "scale", "zero"), {"axis": -1, "out_dtype": "int8"}),
    )
    constants = (w((), fill="one", name="scale"), w((), "int8", "zero", name="zero"))
    return Case("quantize/saturates", (t((5, 17)), t((5, 17), name="sign"), *constants), steps)


def _between(op: str, x: Operand, weights: Operand, what: str = "", **attrs: Any) -> Case:
    """Quantised data and weights, a product in floats, a quantised result: what integer units take."""
    zero, scale = w((), "int8", "zero", name="zero"), w((), fill="positive", name="scale")
    nought = w((), x.dtype, "positive", name="nought")
    steps = (
        Step("dequantize", ("x", "scale", "nought"), {"axis": -1, "out_dtype": "float32"}),
        Step("dequantize", ("w", "scale", "zero"), {"axis": -1, "out_dtype": "float32"}),
        Step(op, ("s0", "s1"), attrs),
        Step("quantize", ("s2", "coarse", "nought"), {"axis": -1, "out_dtype": x.dtype}),
    )
    coarse = w((), fill="hundred", name="coarse")
    name = f"{op}/between dequantize and quantize{f', {what}' if what else ''}"
    return Case(name, (x, weights, scale, zero, nought, coarse), steps)


def _sum(dtype: str) -> Case:
    """The sum of two quantised tensors of different scales."""
    zero = w((), dtype, "positive", name="zero")
    scales = w((), fill="positive", name="scale"), w((), fill="one", name="other")
    steps = (
        Step("dequantize", ("x", "scale", "zero"), {"axis": -1, "out_dtype": "float32"}),
        Step("dequantize", ("y", "other", "zero"), {"axis": -1, "out_dtype": "float32"}),
        Step("add", ("s0", "s1")),
        Step("quantize", ("s2", "other", "zero"), {"axis": -1, "out_dtype": dtype}),
    )
    tensors = t((3, 5, 7), dtype, "large"), y((3, 5, 7), dtype, "large")
    return Case(f"add/between dequantize and quantize, {dtype}", (*tensors, *scales, zero), steps)


CASES = tuple(_cases())
