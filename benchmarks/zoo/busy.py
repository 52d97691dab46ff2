"""A neighbour that keeps one processor busy."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

KINDS = ("free", "pinned")
_START = 0.2  # seconds until it spins


@contextmanager
def busy_neighbour(kind: str) -> Iterator[None]:
    """One spinning process for as long as the block runs: ``free`` to move, or ``pinned`` to the last processor."""
    command = [sys.executable, "-S", "-c", "while True: pass"]
    process = subprocess.Popen(command)
    try:
        if kind == "pinned":
            os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
        time.sleep(_START)
        yield
    finally:
        process.kill()
        process.wait()
