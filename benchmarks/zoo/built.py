"""What the benchmarks need in C."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def built(source: Path, result: Path, *flags: str) -> Path:
    """`result`, compiled from `source` if it is not there or older."""
    if not result.exists() or result.stat().st_mtime < source.stat().st_mtime:
        result.parent.mkdir(parents=True, exist_ok=True)
        partial = result.with_suffix(f".{os.getpid()}")
        subprocess.run([os.environ.get("CC", "cc"), "-O2", *flags, "-o", str(partial), str(source)], check=True)
        os.replace(partial, result)
    return result
