"""From the values of a tensor to the threshold beyond which they are clipped.

Every observer takes the magnitudes and returns ``t > 0``; the step is then ``t / levels`` with ``levels`` the largest
integer.  `klj` is Algorithm 1 of Settle et al. (arXiv 1805.07941).  Its known weakness: it over-clips heavy tails, and
it returns the maximum where a tensor has too few elements for its histogram to have more bins than levels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Observer = Callable[[np.ndarray, int, bool], float]

PERCENTILE = 99.99
_MSE_BINS = 8192
_MSE_CANDIDATES = 160


def klj(magnitudes: np.ndarray, bits: int, signed: bool) -> float:
    """The threshold whose resampled CDF has the least symmetric (Jeffreys) divergence from the tensor's own."""
    bins = int(np.ceil(np.sqrt(magnitudes.size)))
    levels = 2 ** (bits - signed)
    peak = float(magnitudes.max())
    if levels + 1 > bins:
        return peak
    counts, _ = np.histogram(magnitudes, bins=bins, range=(0.0, peak))
    cumulative = np.cumsum(counts) / counts.sum()
    width = peak / bins
    best, threshold = np.inf, peak
    for i in range(levels + 1, bins + 1):
        distance = _jeffreys(cumulative, _resampled(cumulative, i, levels))
        if distance < best:
            best, threshold = distance, (i + 0.5) * width
    return min(threshold, peak)


def _resampled(cumulative: np.ndarray, length: int, levels: int) -> np.ndarray:
    """The CDF clipped after `length` bins, its first part taken to `levels` points and back."""
    clipped = cumulative.copy()
    clipped[length - 1 :] = 1.0
    fine, coarse = np.linspace(0, 1, length), np.linspace(0, 1, levels)
    clipped[:length] = np.interp(fine, coarse, np.interp(coarse, fine, clipped[:length]))
    return clipped


def _jeffreys(reference: np.ndarray, other: np.ndarray) -> float:
    known = (reference > 0) & (other > 0)
    c, q = reference[known], other[known]
    return float(np.sum((c - q) * np.log2(c / q)))


def mse(magnitudes: np.ndarray, bits: int, signed: bool) -> float:
    """The threshold with the least mean squared error of the rounded and clipped values."""
    peak = float(magnitudes.max())
    counts, edges = np.histogram(magnitudes, bins=_MSE_BINS, range=(0.0, peak))
    centres = (edges[1:] + edges[:-1]) / 2
    used = counts > 0
    counts, centres = counts[used].astype("float64"), centres[used]
    levels = 2 ** (bits - signed) - 1
    candidates = peak * np.linspace(1.0 / _MSE_CANDIDATES, 1.0, _MSE_CANDIDATES)
    errors = [_rounding_error(centres, counts, t / levels, levels) for t in candidates]
    return float(candidates[int(np.argmin(errors))])


def _rounding_error(values: np.ndarray, counts: np.ndarray, step: float, levels: int) -> float:
    rounded = np.minimum(np.rint(values / step), levels) * step
    return float(counts @ np.square(values - rounded))


def minmax(magnitudes: np.ndarray, bits: int, signed: bool) -> float:
    """The largest magnitude: nothing of the calibration data is clipped."""
    return float(magnitudes.max())


def percentile(magnitudes: np.ndarray, bits: int, signed: bool) -> float:
    """The magnitude below which 99.99 % of the values lie."""
    return float(np.percentile(magnitudes, PERCENTILE)) or float(magnitudes.max())


OBSERVERS: dict[str, Observer] = {"mse": mse, "klj": klj, "minmax": minmax, "percentile": percentile}
DEFAULT_METHOD = "mse"


def power_of_two_step(values: np.ndarray, step: float, levels: int) -> float:
    """The power of two, of the one not below `step` and the three below that, with the least squared error."""
    highest = int(np.ceil(np.log2(step)))
    magnitudes = np.abs(values).reshape(-1).astype("float64")
    counts, edges = np.histogram(magnitudes, bins=_MSE_BINS, range=(0.0, float(magnitudes.max()) or 1.0))
    centres = (edges[1:] + edges[:-1]) / 2
    steps = [2.0**exponent for exponent in range(highest, highest - 4, -1)]
    return min(steps, key=lambda s: _rounding_error(centres, counts.astype("float64"), s, levels))
