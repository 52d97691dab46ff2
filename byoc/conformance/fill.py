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
    ``extreme``: the same without NaN. ``large``: whole range of an integer type. ``index:N``: integers below N.
    ``size:S``: the size of symbol S, in every element. ``zero``, ``one``, ``hundred``: constant.
    """
    shape = concrete_shape(operand, sizes)
    generator = np.random.default_rng([seed, zlib.crc32(operand.name.encode())])
    dtype = numpy_dtype(operand.dtype)
    kind, _, bound = operand.fill.partition(":")
    if kind == "index":
        return generator.integers(0, int(bound), shape).astype(dtype)
    if kind == "size":
        return np.full(shape, sizes[bound]).astype(dtype)
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
        _strew(values.reshape(-1), operand, [np.nan, np.inf, -np.inf, 0.0, -0.0])
    elif kind == "extreme":
        _strew(values.reshape(-1), operand, [np.inf, -np.inf, 0.0, -0.0])
    return values.astype(dtype)


def _strew(values: np.ndarray, operand: Operand, strange: list[float]) -> None:
    """Puts them, and very small and large numbers, at every sixteenth of the values; operands of other names begin with
    another one, so that all sorts meet."""
    strange = [*strange, *((1e-7, 6e4, -6e4) if operand.dtype == "float16" else (1e-40, 1e30, -1e30))]
    places = values[:: max(1, values.size // 16)]
    places[...] = np.resize(np.roll(strange, zlib.crc32(operand.name.encode()) % len(strange)), places.shape)


def _integers(kind: str, generator: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    if dtype.kind == "b":
        return generator.integers(0, 2, shape).astype(bool)
    if kind == "large":
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    if kind == "positive":
        return generator.integers(1, 9, shape).astype(dtype)
    return generator.integers(0 if dtype.kind == "u" else -9, 10, shape).astype(dtype)
