"""Quantisation: types, saturation, one scale for all or for each channel; integer products between Q and DQ."""

from __future__ import annotations

from collections.abc import Iterator

from byoc.conformance.case import Case, Operand, Step
from byoc.conformance.cases.make import one, t, w


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


def _between(op: str, x: Operand, weights: Operand) -> Case:
    """Quantised data and weights, a product in floats, a quantised result: what integer units take."""
    zero, scale = w((), "int8", "zero", name="zero"), w((), fill="positive", name="scale")
    steps = (
        Step("dequantize", ("x", "scale", "zero"), {"axis": -1, "out_dtype": "float32"}),
        Step("dequantize", ("w", "scale", "zero"), {"axis": -1, "out_dtype": "float32"}),
        Step(op, ("s0", "s1")),
        Step("quantize", ("s2", "coarse", "zero"), {"axis": -1, "out_dtype": "int8"}),
    )
    coarse = w((), fill="one", name="coarse")
    return Case(f"{op}/between dequantize and quantize", (x, weights, scale, zero, coarse), steps)


CASES = tuple(_cases())
