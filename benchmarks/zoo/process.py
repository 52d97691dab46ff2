"""A worker process, as its parent sees it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.zoo.compile_artifact import ROOT

PATIENCE = 120.0  # seconds for one answer


class WorkerError(Exception):
    """The worker failed, crashed or fell silent; the text says how."""


class Worker:
    """One runner with one model in a process of its own.  A context manager; leaving it ends the process."""

    def __init__(self, runner: str, file: Path, inputs: Path, threads: int, preload: Path) -> None:
        reading, writing = os.pipe()
        environment = {**os.environ, "LD_PRELOAD": str(preload)}
        command = [sys.executable, "-m", "benchmarks.zoo.worker", runner, str(file), str(inputs), str(threads)]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [*command, str(writing)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            pass_fds=[writing],
        )
        os.close(writing)
        self._answers = os.fdopen(reading)

    def first_answer(self) -> dict[str, Any]:
        """What loading took; waits for it.  Raises :class:`WorkerError`."""
        return self._answer()

    def ask(self, **request: Any) -> dict[str, Any]:
        """Raises :class:`WorkerError`."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError(self._last_words()) from None
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        ready, _, _ = select.select([self._answers], [], [], PATIENCE)
        if not ready:
            raise WorkerError(f"no answer within {PATIENCE:.0f} s")
        line = self._answers.readline()
        if not line:
            raise WorkerError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(" ".join(answer["error"].split()))
        return answer

    def _last_words(self) -> str:
        code = self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        ended = f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"{ended}: {lines[-1]}" if lines else ended

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._answers.close()
        self._log.close()
