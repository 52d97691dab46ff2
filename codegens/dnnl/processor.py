"""What the processor multiplies 8-bit integers with."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from byoc import Value, reject

# Two products of a byte and such a weight fit 16 bits: 2 * 255 * 64 < 2**15.
LARGEST_WITHOUT_VNNI = 64


@functools.lru_cache(maxsize=1)
def has_vnni() -> bool:
    """Whether four 8-bit products are added in 32 bits; without it two are added in 16, which saturates."""
    try:
        words = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False
    return "avx512_vnni" in words or "avx_vnni" in words


def check_weights(w: Value) -> Any:
    """Refuse constant int8 weights whose products oneDNN would get wrong on this processor."""
    if has_vnni() or np.abs(np.asarray(w.constant, "int32")).max(initial=0) <= LARGEST_WITHOUT_VNNI:
        return None
    return reject(
        "without VNNI oneDNN adds pairs of 8-bit products in 16 bits, which weights beyond -64..64 overflow", at=w
    )
