"""Values to feed cases with."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np

from byoc.artifact.dtypes import numpy_dtype
from byoc.conformance.case import Operand

_CONSTANT = {"zero": 0, "one": 1, "hundred": 100}


def concrete_shape(operand: Operand, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The shape with every symbol replaced."""
    return tuple(d if isinstance(d, int) else sizes[d] for d in operand.shape)


def fill(operand: Operand, sizes: Mapping[str, int], seed: int = 0) -> np.ndarray:
    """Seeded values: the same operand, sizes and seed always give the same.

    ``normal``: standard normal, small integers, or bools. ``unit``: within (-0.9, 0.9). ``positive``: from 0.1 to 3.
    ``special``: normal with NaN, infinities, zeros of both signs, and very small and large numbers strewn in.
    ``large``: whole range of an integer type. ``index:N``: integers below N. ``zero``, ``one``,
    ``hundred``: constant.
    """
    shape = concrete_shape(operand, sizes)
    generator = np.random.default_rng([seed, zlib.crc32(operand.name.encode())])
    dtype = numpy_dtype(operand.dtype)
    kind, _, bound = operand.fill.partition(":")
    if kind == "index":
        return generator.integers(0, int(bound), shape).astype(dtype)
    if kind in _CONSTANT:
        return np.full(shape, _CONSTANT[kind]).astype(dtype)
    if dtype.kind in "iub":
        return _integers(kind, generator, shape, dtype)
    values = generator.standard_normal(shape)
    if kind == "unit":
        values = generator.uniform(-0.9, 0.9, shape)
    elif kind == "positive":
        values = generator.uniform(0.1, 3.0, shape)
    elif kind == "special":
        strange = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, 1e30, -1e30])
        if operand.dtype == "float16":
            strange = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-7, 6e4, -6e4])
        flat = values.reshape(-1)
        flat[:: max(1, flat.size // 16)] = np.resize(strange, flat[:: max(1, flat.size // 16)].shape)
    return values.astype(dtype)


def _integers(kind: str, generator: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    if dtype.kind == "b":
        return generator.integers(0, 2, shape).astype(bool)
    if kind == "large":
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    if kind == "positive":
        return generator.integers(1, 9, shape).astype(dtype)
    return generator.integers(0 if dtype.kind == "u" else -9, 10, shape).astype(dtype)
