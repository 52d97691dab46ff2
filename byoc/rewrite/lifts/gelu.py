"""GELU (Hendrycks and Gimpel 2016): x * Phi(x), by erf or by its tanh approximation."""

from __future__ import annotations

import math
from typing import Any

from tvm import relax

from byoc.patterns import Pattern, const, op
from byoc.rewrite.lift import ROUNDING, Found, Lift, same_shape

add, multiply, power = op("add"), op("multiply"), op("power")


def _halved(bell: Pattern) -> Pattern:
    """x * bell / 2 in every order, x being any part of a pattern."""
    half, two = const("half"), const("two")
    return (
        multiply(multiply("x", bell), half)
        | multiply(multiply("x", half), bell)
        | multiply("x", multiply(bell, half))
        | op("divide")(multiply("x", bell), two)
        | multiply(op("divide")("x", two), bell)
        | multiply("x", op("divide")(bell, two))
    )


def _is_halved(found: Found) -> bool:
    return found.is_number("half", 0.5) if "half" in found else found.is_number("two", 2.0)


def _bell_by_erf() -> Pattern:
    ratio = op("divide")("x", const("root")) | multiply("x", const("inverse_root"))
    return add(op("erf")(ratio), const("one"))


def _by_erf(found: Found) -> Any:
    root, inverse = ("root", math.sqrt(2)), ("inverse_root", math.sqrt(0.5))
    name, number = root if "root" in found else inverse
    right = _is_halved(found) and found.is_number("one", 1.0) and found.is_number(name, number, ROUNDING)
    return relax.op.nn.gelu(found.expr("x")) if right and same_shape(found["x"], found.out) else None


def _bell_by_tanh() -> Pattern:
    cube = power("x", const("three")) | multiply("x", multiply("x", "x")) | multiply("x", power("x", const("squared")))
    polynomial = add("x", multiply(cube, const("cubic")))
    square = multiply("x", "x") | power("x", const("squared"))
    factor = add(multiply(square, const("cubic")), const("unit"))
    argument = (
        multiply(polynomial, const("root"))
        | multiply(multiply("x", const("root")), factor)
        | multiply(multiply("x", factor), const("root"))
        | multiply("x", multiply(factor, const("root")))
    )
    return add(op("tanh")(argument), const("one"))


def _by_tanh(found: Found) -> Any:
    exact = {"one": 1.0, "three": 3.0, "squared": 2.0, "unit": 1.0}
    right = _is_halved(found) and all(found.is_number(name, n) for name, n in exact.items() if name in found)
    right = right and found.is_number("cubic", 0.044715, ROUNDING)
    right = right and found.is_number("root", math.sqrt(2 / math.pi), 1e-5)  # some exporters write 0.79788
    return relax.op.nn.gelu_tanh(found.expr("x")) if right and same_shape(found["x"], found.out) else None


LIFTS = (
    Lift("gelu", _halved(_bell_by_erf()), _by_erf),
    Lift("gelu_tanh", _halved(_bell_by_tanh()), _by_tanh),
)
