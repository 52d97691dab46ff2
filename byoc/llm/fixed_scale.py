"""The fixed scale of a ``per-tensor`` cache, from the keys or values of a calibration text."""

from __future__ import annotations

from typing import Any

import numpy as np

from byoc.llm.kv_spec import CacheFormat, FixedScale, KVSpec
from byoc.ops.hadamard import hadamard_matrix

Array = np.ndarray[Any, Any]
_BINS = 1024
_SHRINKS = np.linspace(1.0, 0.2, 33)


def needs_scale(form: CacheFormat) -> bool:
    """Whether the format has a scale that is fixed before the model runs."""
    return not form.is_float and form.granularity == "per-tensor"


def fixed_scales(spec: KVSpec, keys: Array, values: Array, chunk: int) -> tuple[FixedScale, FixedScale]:
    """Scales of keys and of values that lose the least on these: float32[texts, tokens, kv_heads, head_dim].

    The key transform comes first: ``mean`` takes the mean of the first `chunk` tokens, as the cache does.
    """
    if needs_scale(spec.keys) and spec.key_transform == "hadamard":
        keys = keys @ hadamard_matrix(keys.shape[-1])
    if needs_scale(spec.keys) and spec.key_transform == "mean":
        keys = keys - keys[:, :chunk].mean(1, keepdims=True)
    return fixed_scale(spec.keys, keys), fixed_scale(spec.values, values)


def fixed_scale(form: CacheFormat, numbers: Array) -> FixedScale:
    """The scale, and the minimum of an asymmetric format, with the least squared error of the rounded numbers.

    Numbers beyond the range that they span are clipped.  A format that needs none has the scale 1.
    """
    if not needs_scale(form):
        return FixedScale()
    counts, edges = np.histogram(numbers, _BINS)
    centres, used = (edges[1:] + edges[:-1]) / 2, counts > 0
    bins = centres[used], counts[used].astype(np.float64)
    levels = (1 << form.bits) - 1
    if form.symmetric:
        half = levels // 2
        scales = [float(s * np.abs(numbers).max()) / half or 1.0 for s in _SHRINKS]
        return FixedScale(min(scales, key=lambda s: _error(*bins, s, -half * s, 2 * half)))
    low, high = float(numbers.min()), float(numbers.max())
    middle = (low + high) / 2
    ranges = [(middle + a * (low - middle), middle + b * (high - middle)) for a in _SHRINKS for b in _SHRINKS]
    candidates = [FixedScale((top - bottom) / levels or 1.0, bottom) for bottom, top in ranges]
    return min(candidates, key=lambda f: _error(*bins, f.scale, f.minimum, levels))


def _error(centres: Array, counts: Array, scale: float, minimum: float, levels: int) -> float:
    rounded = np.clip(np.rint((centres - minimum) / scale), 0, levels) * scale + minimum
    return float(counts @ np.square(centres - rounded))
