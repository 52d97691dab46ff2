"""What a process takes that runs an artifact, and how fast it is: measured in a process of its own.

``python -m byoc.pareto.resident FILE.byoc`` prints one JSON object.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from byoc.llm.session import LanguageSession

_STEPS = 32
_ROUNDS, _SECONDS = 25, 1.0  # fast models are timed again, up to so many times or seconds


@dataclass(frozen=True)
class Resident:
    """Bytes of the resident set before loading, and at its peak; tokens per second of reading a full context less what
    is then decoded, and of decoding at that depth."""

    before: int
    peak: int
    prefill_rate: float
    decode_rate: float


def measure_resident(artifact: Any, folder: Path) -> Resident | None:
    """Save the artifact and run it in a fresh process; None where that fails.  `folder` is for its file."""
    path = folder / "model.byoc"
    artifact.save(path)
    command = [sys.executable, "-m", "byoc.pareto.resident", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        return Resident(**json.loads(done.stdout))
    except (ValueError, TypeError):
        return None


def run(path: str) -> Resident:
    """Load and run in this process."""
    from byoc.llm.session import load

    before = _status("VmRSS")
    session = load(path)
    steps = min(_STEPS, session.context // 2)
    prompt = [[0] * (session.context - steps)] * session.batch
    session.prefill([row[: session.chunk] for row in prompt])  # the first call touches the code
    rounds: list[tuple[float, float]] = []
    while not rounds or (len(rounds) < _ROUNDS and sum(map(sum, rounds)) < _SECONDS):
        rounds.append(_round(session, prompt, steps))
    reading, decoding = (statistics.median(times) for times in zip(*rounds, strict=True))
    return Resident(before, _status("VmHWM"), len(prompt[0]) / reading, steps / decoding)


def _round(session: LanguageSession, prompt: list[list[int]], steps: int) -> tuple[float, float]:
    """Seconds of reading the prompt, and of so many steps after it."""
    session.reset()
    begin = time.perf_counter()
    session.prefill(prompt)
    read = time.perf_counter()
    for _ in range(steps):
        session.decode([0] * session.batch)
    return read - begin, time.perf_counter() - read


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    print(json.dumps(asdict(run(sys.argv[1]))))
