"""Seeded weights of a scale at which activations neither vanish, which would give denormals, nor grow without bound."""

from __future__ import annotations

import numpy as np

Weights = dict[str, np.ndarray]


class RandomWeights:
    """Draws weights in the order in which they are asked for."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def normal(self, *shape: int, deviation: float) -> np.ndarray:
        return (self._rng.standard_normal(shape) * deviation).astype(np.float32)

    def convolution(self, outputs: int, inputs: int, size: int) -> np.ndarray:
        """Of the variance that keeps a rectified signal's (He et al. 2015, section 2.2)."""
        return self.normal(outputs, inputs, size, size, deviation=(2.0 / (inputs * size * size)) ** 0.5)

    def dense(self, outputs: int, inputs: int) -> np.ndarray:
        """[outputs, inputs], of the variance that keeps the signal's."""
        return self.normal(outputs, inputs, deviation=inputs**-0.5)

    def near_one(self, *shape: int) -> np.ndarray:
        return (1.0 + 0.1 * self._rng.standard_normal(shape)).astype(np.float32)

    def small(self, *shape: int) -> np.ndarray:
        return self.normal(*shape, deviation=0.05)
