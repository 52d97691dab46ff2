"""How far a result is from its reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DEFAULT_TOLERANCE = 1e-4
HALF_TOLERANCE = 1e-3
_HALF = ("float16", "bfloat16")


@dataclass(frozen=True)
class Difference:
    """Errors of one output.

    Attributes
    ----------
    max_abs: largest absolute difference of two elements.
    max_rel: `max_abs` over the largest magnitude in the reference (over 1 where the reference is all zeros).
        Both are infinite where NaN, infinities, dtype or shape disagree; `note` says which.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    max_abs: float
    max_rel: float
    note: str = ""

    def tolerance(self, asked: float | None) -> float:
        """The bound on `max_rel` for this dtype, unless one was asked for."""
        if asked is not None:
            return asked
        return HALF_TOLERANCE if self.dtype in _HALF else DEFAULT_TOLERANCE


def difference(name: str, got: np.ndarray, want: np.ndarray) -> Difference:
    """Compare one output with its reference, element by element, in float64."""
    dtype, shape = str(got.dtype), tuple(got.shape)
    if shape != tuple(want.shape) or dtype != str(want.dtype):
        note = f"has {dtype}{list(shape)}, the reference {want.dtype}{list(want.shape)}"
        return Difference(name, dtype, shape, float("inf"), float("inf"), note)
    if got.size == 0:
        return Difference(name, dtype, shape, 0.0, 0.0)
    left, right = _comparable(got), _comparable(want)
    if not np.array_equal(np.where(np.isfinite(left), 0.0, left), np.where(np.isfinite(right), 0.0, right), True):
        return Difference(name, dtype, shape, float("inf"), float("inf"), "NaN or infinity where the other has none")
    finite = np.isfinite(left)
    max_abs = float(np.max(np.abs(left[finite] - right[finite]), initial=0.0))
    scale = float(np.max(np.abs(right[finite]), initial=0.0)) or 1.0
    return Difference(name, dtype, shape, max_abs, max_abs / scale)


def _comparable(array: np.ndarray) -> np.ndarray:
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
