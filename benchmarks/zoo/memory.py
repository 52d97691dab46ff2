"""Allocations and page faults of this process."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("count_allocations.c")


def counting_library(folder: Path) -> Path:
    """The shared library to preload into a process whose allocations are to be counted; built if it is not there."""
    library = folder / "count_allocations.so"
    if not library.exists() or library.stat().st_mtime < SOURCE.stat().st_mtime:
        folder.mkdir(parents=True, exist_ok=True)
        partial = library.with_suffix(f".{os.getpid()}")
        compiler = os.environ.get("CC", "cc")
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", str(partial), str(SOURCE)], check=True)
        os.replace(partial, library)
    return library


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
