"""Integer arithmetic of quantised models: a real factor as an integer multiplier and a shift, and exact rounding.

The factor ``m`` of a requantisation becomes ``multiplier * 2**-shift`` as in Settle et al. (arXiv 1805.07941), where
``bits`` is 8: ``shift = bits - 1 - ceil(log2 m)``, ``multiplier = round_half_even(m * 2**shift)``, which lies in
``[2**(bits - 2), 2**(bits - 1)]`` and is exact where ``m`` is a power of two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DEFAULT_BITS = 31
LARGEST_SHIFT = 62


@dataclass(frozen=True)
class FixedPoint:
    """Real factors as integers: entry ``c`` stands for ``multiplier[c] * 2**-shift[c]``."""

    multiplier: tuple[int, ...]
    shift: tuple[int, ...]

    @property
    def real(self) -> np.ndarray:
        """The factors that the integers stand for, float64."""
        return np.ldexp(np.array(self.multiplier, "float64"), [-s for s in self.shift])


def fixed_point(factors: Sequence[float] | np.ndarray, bits: int = DEFAULT_BITS) -> FixedPoint:
    """Multiplier and shift for each factor.

    A factor below ``2**-62`` becomes zero, which no sum of 32 bits can tell from it.

    Raises :class:`ValueError` for factors that are negative, not finite, or of ``2**(bits - 2)`` and more.
    """
    multipliers, shifts = [], []
    for factor in np.asarray(factors, "float64").reshape(-1):
        if not math.isfinite(factor) or factor < 0:
            raise ValueError(f"a requantisation by {factor} is not possible")
        exponent = _ceil_log2(factor) if factor else -LARGEST_SHIFT
        shift = bits - 1 - exponent
        if shift < 1:
            raise ValueError(f"a requantisation by {factor:g} does not fit a multiplier of {bits} bits")
        shift = min(shift, LARGEST_SHIFT)
        multipliers.append(round(math.ldexp(factor, shift)))
        shifts.append(shift)
    return FixedPoint(tuple(multipliers), tuple(shifts))


def _ceil_log2(factor: float) -> int:
    mantissa, exponent = math.frexp(factor)  # factor = mantissa * 2**exponent, mantissa in [0.5, 1)
    return exponent - 1 if mantissa == 0.5 else exponent


def shift_half_even(product: np.ndarray, shift: np.ndarray | int) -> np.ndarray:
    """``product / 2**shift`` rounded to the nearest integer, ties to the even one; int64 in and out, shift >= 1."""
    shift = np.asarray(shift, "int64")
    below = np.left_shift(np.int64(1), shift - 1) - 1
    return np.right_shift(product + below + (np.right_shift(product, shift) & 1), shift)


def requantise(
    total: np.ndarray, multiplier: np.ndarray | int, shift: np.ndarray | int, zero: int, low: int, high: int
) -> np.ndarray:
    """``clip(total * multiplier * 2**-shift + zero, low, high)`` in int64; the reference of every integer kernel."""
    product = total.astype("int64") * np.asarray(multiplier, "int64")
    return np.clip(shift_half_even(product, shift) + zero, low, high)
