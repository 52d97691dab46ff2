"""How far apart two processors are: on a virtual machine that changes, and with it what several threads gain."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from benchmarks.zoo.built import built

SOURCE = Path(__file__).with_name("round_trip.c")


def round_trip_ns(folder: Path) -> float | None:
    """Nanoseconds from the first to the last processor of this process and back; None if it has only one.

    `folder`: where the program is kept.
    """
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) < 2:
        return None
    program = built(SOURCE, folder / "round_trip", "-pthread")
    run = subprocess.run(
        [str(program), str(processors[0]), str(processors[-1])], check=True, capture_output=True, text=True
    )
    return float(run.stdout)
