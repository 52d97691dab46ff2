"""Thresholds from magnitudes."""

from __future__ import annotations

import numpy as np
import pytest

from byoc.quant.observers import klj, minmax, mse, percentile, power_of_two_step

NORMAL = np.abs(np.random.default_rng(0).standard_normal(200_000))


def error(values: np.ndarray, threshold: float, levels: int = 127) -> float:
    step = threshold / levels
    return float(np.square(values - np.minimum(np.rint(values / step), levels) * step).mean())


def test_mse_is_as_good_as_the_best_of_many_thresholds():
    best = min(error(NORMAL, t) for t in NORMAL.max() * np.linspace(0.1, 1, 300))
    assert error(NORMAL, mse(NORMAL, 8, signed=True)) <= best * 1.02


def test_klj_follows_the_algorithm_of_the_paper():
    """A second transcription, with the loops and the names of the paper."""
    x = NORMAL[:40_000]
    bins = int(np.ceil(np.sqrt(x.size)))
    h, edges = np.histogram(x, bins, (0, x.max()))
    c, n = np.cumsum(h) / h.sum(), 2**7
    found = []
    for i in range(n + 1, bins + 1):
        p = c.copy()
        p[i - 1 :] = 1
        down = np.interp(np.linspace(0, 1, n), np.linspace(0, 1, i), p[:i])
        q = p.copy()
        q[:i] = np.interp(np.linspace(0, 1, i), np.linspace(0, 1, n), down)
        keep = c > 0
        found.append((np.sum((c[keep] - q[keep]) * np.log2(c[keep] / q[keep])), (i + 0.5) * (edges[1] - edges[0])))
    assert klj(x, 8, signed=True) == pytest.approx(min(min(found)[1], x.max()))


def test_klj_returns_the_maximum_where_the_histogram_has_no_more_bins_than_levels():
    x = NORMAL[: 128 * 128]
    assert klj(x, 8, signed=True) == x.max()
    assert klj(NORMAL, 16, signed=True) == NORMAL.max()


def test_klj_clips_heavy_tails_more_than_mse_does():
    tails = np.abs(np.random.default_rng(0).standard_t(3, 200_000))
    assert klj(tails, 8, signed=True) < mse(tails, 8, signed=True) < minmax(tails, 8, signed=True)


def test_percentile_leaves_out_one_in_ten_thousand():
    x = np.arange(1.0, 100_001.0)
    assert (x > percentile(x, 8, signed=True)).sum() == 10


def test_power_of_two_steps_are_powers_of_two_near_the_step():
    step = power_of_two_step(NORMAL, 0.03, 127)
    assert step in (2.0**-5, 2.0**-6, 2.0**-7, 2.0**-8)
