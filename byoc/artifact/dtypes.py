"""Names of element types, as manifests spell them, and their numpy dtypes."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

_PLAIN = frozenset(
    ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"]
)
_FLOAT8 = ["e3m4", "e4m3", "e4m3b11fnuz", "e4m3fn", "e4m3fnuz", "e5m2", "e5m2fnuz", "e8m0fnu"]
_EXTENDED = frozenset(["bfloat16", *(f"float8_{kind}" for kind in _FLOAT8)])
NAMES = _PLAIN | _EXTENDED


@lru_cache(maxsize=64)
def numpy_dtype(name: str) -> np.dtype[Any]:
    """The numpy dtype called ``name``; raises ``ValueError`` for a type that cannot be stored element by element."""
    if name in _PLAIN:
        return np.dtype(name)
    if name in _EXTENDED:
        import ml_dtypes

        return np.dtype(getattr(ml_dtypes, name))
    raise ValueError(f"the element type {name!r} cannot be stored; known: {', '.join(sorted(NAMES))}")


def dtype_name(dtype: np.dtype[Any]) -> str:
    """Inverse of :func:`numpy_dtype`; raises ``ValueError`` for other types, big-endian ones among them."""
    name = str(dtype)
    if name not in NAMES or numpy_dtype(name) != dtype:
        raise ValueError(f"the element type {name!r} cannot be stored; known: {', '.join(sorted(NAMES))}")
    return name


def is_extended(name: str) -> bool:
    """Whether numpy itself does not know the type, so that it crosses DLPack as raw integers of its width."""
    return name in _EXTENDED
