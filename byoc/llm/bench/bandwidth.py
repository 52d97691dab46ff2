"""How fast this machine reads memory: the floor of everything that reads weights and caches once per token."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

BLOCK = 256 << 20  # bytes per thread, beyond the caches of most processors
_REPEATS = 7


def read_bandwidth(threads: int) -> float:
    """Bytes per second that `threads` threads read together, each a block of its own; the best of seven passes."""
    blocks = [np.ones(BLOCK // 8, np.int64) for _ in range(threads)]
    best = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(_REPEATS):
            begin = time.perf_counter()
            list(pool.map(np.bitwise_or.reduce, blocks))
            best = min(best, time.perf_counter() - begin)
    return threads * BLOCK / best
