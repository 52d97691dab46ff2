"""The one registry of tolerances: how far a result may be from its reference.

Two questions have two answers.  For whole outputs (`byoc verify`, `byoc run --check-onnxruntime`), where errors of many
ops meet, the largest error is held against the largest magnitude of the reference.  For single ops (conformance), each
element is held against itself, with a bound that grows with the length of sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

EXACT = 0.0
# Of the largest magnitude.  An 8-bit result may be one step off: scales are applied in another order by every backend,
# and a value halfway between two steps falls to either.
WHOLE_OUTPUT: Mapping[str, float] = {
    "float64": 1e-4, "float32": 1e-4, "float16": 1e-3, "bfloat16": 1e-2, "int8": 1 / 127, "uint8": 1 / 127,
}  # fmt: skip


def whole_output(dtype: str) -> float:
    """The bound on the largest error over the largest magnitude; types that are not listed are exact."""
    return WHOLE_OUTPUT.get(dtype, EXACT)


@dataclass(frozen=True)
class Tolerance:
    """An element may be off by ``absolute + relative * |reference|``; at most the share `rare` of them at all."""

    relative: float
    absolute: float
    rare: float = 1.0


# Unit roundoff of the type that a result is stored in (IEEE 754-2019, table 3.5; bfloat16 has 8 bits of precision).
_ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
# Multiples of the roundoff that one op may lose, by kind.
_UNITS: Mapping[str, float] = {
    "exact": 0.0,  # moves, selections, comparisons
    "rounded": 4.0,  # a few correctly rounded operations: add, multiply, divide, sqrt
    "transcendental": 64.0,  # exp, log, erf, tanh, ... and what is made of them; fast vector versions are usual
    "sum": 16.0,  # products and sums, times the square root of their length
}
# Of a quantised result's elements, how many may be one step off: those between two steps, which falls to either.
_STEPS_OFF = 0.02
_STORED = ("int8", "uint8", "int16", "uint16")
_SMALLEST = {"float64": 1e-12, "float32": 1e-6, "float16": 1e-3, "bfloat16": 1e-2}


def single_op(kind: str, dtype: str, length: int = 1, quantized: bool = False) -> Tolerance:
    """The tolerance of one op.

    Parameters
    ----------
    kind: ``exact``, ``rounded``, ``transcendental`` or ``sum``.
    dtype: of the result; integers are exact, but those that come out of a quantisation may be one step off.
    length: how many terms a sum has; the error of a sum of n rounded terms grows as sqrt(n) on average (Higham,
        Accuracy and Stability of Numerical Algorithms, 2nd ed., section 2.8).
    """
    if kind not in _UNITS:
        raise KeyError(f'no kind of op is called "{kind}"')
    if dtype not in _ROUNDOFF:
        return Tolerance(0.0, 1.0, _STEPS_OFF) if quantized and dtype in _STORED else Tolerance(0.0, 0.0)
    units = _UNITS[kind]
    if units == 0.0:
        return Tolerance(0.0, 0.0)
    relative = units * _ROUNDOFF[dtype] * sqrt(max(1, length))
    # Sums cancel: what is lost is relative to the terms, of order 1 in the cases, and not to the result.
    absolute = relative * sqrt(max(1, length)) if kind == "sum" else _SMALLEST[dtype]
    return Tolerance(relative, max(absolute, _SMALLEST[dtype] / 10))
