"""Allocations and page faults of this process."""

from __future__ import annotations

import ctypes
import os
import resource
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.zoo.built import built

SOURCE = Path(__file__).with_name("count_allocations.c")


def counting_library(folder: Path) -> Path:
    """The shared library to preload into a process whose allocations are to be counted; built if it is not there."""
    return built(SOURCE, folder / "count_allocations.so", "-shared", "-fPIC")


@dataclass(frozen=True)
class MemoryUse:
    """What happened so far: page faults served without disk, calls of the allocator and bytes asked of it."""

    faults: int
    allocations: int
    nbytes: int

    @classmethod
    def now(cls) -> MemoryUse:
        """Allocations are zero where the counting library is not preloaded."""
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        process = ctypes.CDLL(None)
        try:
            calls, nbytes = process.benchmark_allocations, process.benchmark_allocated_bytes
        except AttributeError:
            return cls(faults, 0, 0)
        calls.restype = nbytes.restype = ctypes.c_ulonglong
        return cls(faults, calls(), nbytes())


class _Place(ctypes.Structure):
    """Dl_info of dlfcn.h."""

    _fields_ = (
        ("file", ctypes.c_char_p), ("base", ctypes.c_void_p), ("symbol", ctypes.c_char_p), ("address", ctypes.c_void_p),
    )  # fmt: skip


def allocations_by_library(run: Callable[[], object]) -> Counter[str]:
    """How often each library called the C allocator, or C++'s, during `run`, by the name of its file.

    Only in a process where the counting library is preloaded; of more than 65,536 calls the first ones are told.
    """
    process = ctypes.CDLL(None)
    addresses = ctypes.POINTER(ctypes.c_void_p)()
    process.benchmark_callers.restype = ctypes.c_size_t
    process.benchmark_note_callers()
    run()
    number = process.benchmark_callers(ctypes.byref(addresses))
    found: Counter[str] = Counter()
    for address, times in Counter(addresses[:number]).items():
        place = _Place()
        known = process.dladdr(ctypes.c_void_p(address), ctypes.byref(place))
        found[os.path.basename(os.fsdecode(place.file)) if known and place.file else ""] += times
    return found
