"""Arrays to give to sessions, awkward ones too."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def numbers(rows: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((rows, 4), dtype=np.float32)


def unaligned(array: Array) -> Array:
    memory = np.empty(array.nbytes + 128, np.uint8)
    start = -memory.ctypes.data % 64 + 4
    view = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


class Exporter:
    """An array of another library: all it can do is DLPack."""

    def __init__(self, array: Array, device: int = 1) -> None:
        self._array, self._device = array, device

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (self._device, 0)
