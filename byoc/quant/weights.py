"""Weights and biases as integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from byoc.quant.fold_affine import output_axis
from byoc.quant.layers import Layer
from byoc.quant.observers import power_of_two_step
from byoc.quant.settings import Settings

_ACCUMULATOR = 2**31 - 1
# Steps that are tried: the largest weight is so many of them; beyond 127 it is clipped.
_PEAKS = (*range(127, 63, -1), *range(130, 181, 5))
# Elements of a channel that are looked at, about.
_SAMPLE = 1024


@dataclass(frozen=True)
class QuantisedWeights:
    """``weight * step`` approximates the floats; ``step`` has one entry, or one for each index of ``axis``.

    ``bias`` is int32 at the step of the accumulator, input step times weight step, or None.
    """

    weight: np.ndarray
    step: np.ndarray
    axis: int
    bias: np.ndarray | None
    notes: tuple[str, ...] = ()

    @property
    def real(self) -> np.ndarray:
        """The weights that the integers stand for, float32."""
        return (self.weight * spread(self.step, self.axis, self.weight.ndim)).astype("float32")


def spread(step: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """Steps in the shape that broadcasts along `axis` of a tensor."""
    if step.size == 1:
        return step.reshape(())
    shape = [1] * rank
    shape[axis] = -1
    return step.reshape(shape)


def weight_steps(weight: np.ndarray, axis: int, settings: Settings) -> np.ndarray:
    """Steps of each channel or of the tensor; a channel of zeros has the step 1.

    At 8 bits the step with the least squared error among those that make the largest magnitude a whole number of steps,
    else the largest magnitude is the threshold, as in Settle et al. (arXiv 1805.07941).
    """
    levels = settings.levels(unsigned=False)
    rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1).astype("float64")
    if not settings.per_channel:
        rows = rows.reshape(1, -1)
    peaks = np.abs(rows).max(axis=1)
    steps = np.where(peaks > 0, peaks / levels, 1.0)
    if settings.bits == 8 and not settings.power_of_two:
        steps = _least_error(rows, peaks, steps, levels)
    if settings.power_of_two:
        steps = np.array([power_of_two_step(row, s, levels) for row, s in zip(rows, steps, strict=True)])
    return steps


def _least_error(rows: np.ndarray, peaks: np.ndarray, steps: np.ndarray, levels: int) -> np.ndarray:
    """For each row the step, among those that make its peak a whole number of them, with the least squared error.

    Weights that lie on a grid, as training in 8 bits leaves them, stay on it.
    """
    sample = rows[:, :: max(1, rows.shape[1] // _SAMPLE)]
    best, least = steps, np.full(len(rows), np.inf)
    for count in _PEAKS:
        candidates = np.where(peaks > 0, peaks / count, 1.0)
        rounded = np.clip(np.rint(sample / candidates[:, None]), -levels, levels) * candidates[:, None]
        errors = np.square(sample - rounded).sum(axis=1)
        better = errors < least
        best, least = np.where(better, candidates, best), np.where(better, errors, least)
    return best


def quantise_weights(
    weight: np.ndarray, bias: np.ndarray | None, layer: Layer, input_step: float, input_levels: int, settings: Settings
) -> QuantisedWeights:
    """Round a layer's weights, and its bias at the step of the accumulator.

    Where the bias or, at 8 bits, the sum of a channel could leave 32 bits, the channel's step is doubled until it fits.
    """
    axis = output_axis(layer.root) % weight.ndim
    levels = settings.levels(unsigned=False)
    steps = weight_steps(weight, axis, settings)
    notes = []
    while True:
        rounded = np.clip(np.rint(weight / spread(steps, axis, weight.ndim)), -levels, levels)
        totals = np.zeros(weight.shape[axis])
        if bias is not None:
            totals = np.rint(bias.astype("float64").reshape(-1) / (input_step * steps))
            totals = np.broadcast_to(totals, weight.shape[axis])
        reach = np.abs(totals)
        if settings.bits == 8:
            reach = reach + np.abs(np.moveaxis(rounded, axis, 0).reshape(weight.shape[axis], -1)).sum(1) * input_levels
        over = reach > _ACCUMULATOR
        if not over.any():
            break
        notes.append(f"{layer.name}: {int(over.sum())} channels have coarser weights, else their sums leave 32 bits")
        steps = np.where(over if steps.size > 1 else over.any(), steps * 2, steps)
    integers = rounded.astype(settings.dtype(unsigned=False))
    rounded_bias = None if bias is None else totals.astype("int32")
    return QuantisedWeights(integers, steps, axis, rounded_bias, tuple(dict.fromkeys(notes)))
