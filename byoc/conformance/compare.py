"""Hold a result against the oracle's."""

from __future__ import annotations

import numpy as np

from byoc.artifact.dtypes import numpy_dtype
from byoc.conformance.tolerance import Tolerance


def disagreement(got: np.ndarray, want: np.ndarray, dtype: str, tolerance: Tolerance) -> str:
    """Where and how far a result is wrong, in one sentence; empty if it is right.

    `want` is in float64 for floats, and is rounded to `dtype` here, so that what overflows there overflows here.
    """
    if got.shape != want.shape:
        return f"has shape {list(got.shape)} where {list(want.shape)} is right"
    if got.size == 0:
        return ""
    if numpy_dtype(dtype).kind in "iub":
        left, right = got.astype(np.float64), want.astype(np.float64)
    else:
        with np.errstate(over="ignore"):
            right = want.astype(numpy_dtype(dtype)).astype(np.float64)
        left = got.astype(np.float64)
    with np.errstate(invalid="ignore"):
        room = tolerance.absolute + tolerance.relative * np.abs(right)
        same = (left == right) | (np.isnan(left) & np.isnan(right))
        near = np.isfinite(left) & np.isfinite(right) & (np.abs(left - right) <= room)
    wrong = ~(same | near)
    if not wrong.any() and (~same).sum() > max(1.0, tolerance.rare * got.size):
        wrong = ~same
    if not wrong.any():
        return ""
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    count = int(wrong.sum())
    figures = f"{left[first]:.8g}, not {right[first]:.8g}"
    return f"{count} of {got.size} elements are wrong, the first at {list(first)}: {figures}"
