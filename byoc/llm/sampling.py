"""Choosing the next token from logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from byoc.errors import UsageError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Attributes
    ----------
    temperature: divides the logits; 0 takes the most likely token (the first of equals).
    top_k: only so many of the most likely tokens are drawn from; 0 for all.
    top_p: of those, the fewest whose probabilities reach this sum (nucleus sampling, 1904.09751); 1 for all.
    seed: of the random numbers; the same seed draws the same tokens from the same logits.

    Raises :class:`UsageError` for values out of range.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.temperature < float("inf")):
            raise UsageError(f"the temperature is {self.temperature}", "", "give a number from 0 up")
        if self.top_k < 0:
            raise UsageError(f"top-k is {self.top_k}", "it counts tokens", "give a number from 1 up, or 0 for all")
        if self.seed < 0:
            raise UsageError(f"the seed is {self.seed}", "", "give a number from 0 up")
        if not (0 < self.top_p <= 1):
            raise UsageError(f"top-p is {self.top_p}", "it is a sum of probabilities", "give a number above 0, up to 1")


class Sampler:
    """Draws tokens by a :class:`Sampling`."""

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self._random = np.random.default_rng(sampling.seed)

    def choose(self, logits: Array) -> Array:
        """A token for each row of float32[batch, vocabulary]: int64[batch]."""
        if self.sampling.temperature == 0:
            return logits.argmax(-1).astype(np.int64)
        return np.array([self._draw(row) for row in logits.astype(np.float64)], np.int64)

    def _draw(self, logits: Array) -> int:
        tokens, chances = candidates(logits, self.sampling)
        place = int(np.searchsorted(np.cumsum(chances), self._random.random()))
        return int(tokens[min(place, len(tokens) - 1)])


def candidates(logits: Array, sampling: Sampling) -> tuple[Array, Array]:
    """Tokens that may be drawn, the most likely first, and their probabilities."""
    order = np.argsort(-logits, kind="stable")
    if sampling.top_k:
        order = order[: sampling.top_k]
    scaled = logits[order] / sampling.temperature
    chances = np.exp(scaled - scaled[0])
    chances /= chances.sum()
    kept = int(np.searchsorted(np.cumsum(chances), sampling.top_p)) + 1
    chances = chances[:kept]
    return order[:kept], chances / chances.sum()
