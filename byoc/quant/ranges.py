"""The range of a tensor, and values rounded to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Elements that are in float64 at a time.
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Range:
    """How a tensor is rounded, and what that does to it.

    Attributes
    ----------
    threshold: magnitude beyond which values are clipped; ``step * largest integer``.
    step: real value of one integer step.  There are no zero points.
    peak: largest magnitude in the calibration data.
    clipped: share of the values beyond the threshold.
    snr: decibels of the float values over the error of the rounded ones, all layers before included; infinite
        where nothing differs, NaN where it was not measured.
    histogram: counts of the magnitudes in equal bins from 0 to `peak`.
    """

    threshold: float
    step: float
    unsigned: bool
    peak: float
    clipped: float = 0.0
    snr: float = float("nan")
    histogram: tuple[int, ...] = ()


def magnitudes_of(values: Sequence[np.ndarray]) -> np.ndarray:
    """Of all values, float32[count]."""
    parts = [np.abs(v.reshape(-1)).astype("float32", copy=False) for v in values]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def rounded_to(values: np.ndarray, step: float, low: int, high: int) -> np.ndarray:
    """What integers of that step stand for, divided in float32 as QuantizeLinear does."""
    result = np.empty(values.shape, "float32")
    np.divide(values, np.float32(step), out=result)
    np.rint(result, out=result)
    np.clip(result, low, high, out=result)
    result *= np.float32(step)
    return result.astype(values.dtype, copy=False)


def snr(reference: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> float:
    """Decibels of the reference over the difference; infinite where nothing differs."""
    signal = noise = 0.0
    for a, b in zip(reference, other, strict=True):
        for start in range(0, a.size, _CHUNK):
            part = a.reshape(-1)[start : start + _CHUNK].astype("float64")
            difference = part - b.reshape(-1)[start : start + _CHUNK]
            signal, noise = signal + float(part @ part), noise + float(difference @ difference)
    if noise == 0:
        return float("inf")
    return float(10 * np.log10(signal / noise)) if signal > 0 else float("-inf")
