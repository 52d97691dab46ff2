"""How far a result is from its reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from byoc.conformance.tolerance import whole_output


@dataclass(frozen=True)
class Difference:
    """Errors of one output.

    Attributes
    ----------
    max_abs: largest absolute difference of two elements.
    max_rel: `max_abs` over the largest magnitude in the reference (over 1 where the reference is all zeros).
        Both are infinite where NaN, infinities, dtype or shape disagree; `note` says which.
    cosine: cosine of the angle between result and reference as vectors; 1 where both are all zeros.
    snr: signal-to-noise ratio in decibels: the reference's energy over the error's; infinite where they are equal.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    max_abs: float
    max_rel: float
    note: str = ""
    cosine: float = 1.0
    snr: float = float("inf")
    bound: float | None = None

    def tolerance(self, asked: float | None) -> float:
        """The bound on `max_rel`: one that was asked for, this result's own, or that of its dtype."""
        if asked is not None:
            return asked
        return whole_output(self.dtype) if self.bound is None else self.bound


def difference(name: str, got: np.ndarray, want: np.ndarray, bound: float | None = None) -> Difference:
    """Compare one output with its reference, element by element, in float64.

    `bound` on `max_rel` replaces that of the dtype.
    """
    dtype, shape = str(got.dtype), tuple(got.shape)
    if shape != tuple(want.shape) or dtype != str(want.dtype):
        note = f"has {dtype}{list(shape)}, the reference {want.dtype}{list(want.shape)}"
        return _unequal(name, dtype, shape, note)
    if got.size == 0:
        return Difference(name, dtype, shape, 0.0, 0.0)
    left, right = _comparable(got), _comparable(want)
    if not np.array_equal(np.where(np.isfinite(left), 0.0, left), np.where(np.isfinite(right), 0.0, right), True):
        return _unequal(name, dtype, shape, "NaN or infinity where the other has none")
    finite = np.isfinite(left)
    left, right = left[finite], right[finite]
    max_abs = float(np.max(np.abs(left - right), initial=0.0))
    scale = float(np.max(np.abs(right), initial=0.0)) or 1.0
    return Difference(name, dtype, shape, max_abs, max_abs / scale, "", _cosine(left, right), _snr(left, right), bound)


def _unequal(name: str, dtype: str, shape: tuple[int, ...], note: str) -> Difference:
    infinite = float("inf")
    return Difference(name, dtype, shape, infinite, infinite, note, cosine=0.0, snr=-infinite)


def _cosine(left: np.ndarray, right: np.ndarray) -> float:
    lengths = float(np.linalg.norm(left) * np.linalg.norm(right))
    if lengths == 0.0:
        return 1.0 if not left.any() and not right.any() else 0.0
    return float(np.clip(np.real(np.vdot(left, right)) / lengths, -1.0, 1.0))


def _snr(left: np.ndarray, right: np.ndarray) -> float:
    noise, signal = float(np.sum(np.abs(left - right) ** 2)), float(np.sum(np.abs(right) ** 2))
    if noise == 0.0:
        return float("inf")
    return 10.0 * float(np.log10(signal / noise)) if signal else float("-inf")


def _comparable(array: np.ndarray) -> np.ndarray:
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
