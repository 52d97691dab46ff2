"""Run cases in processes of their own, a few at a time: forked, so that none pays for starting Python."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from byoc.conformance.case import Case
from byoc.conformance.outcome import CRASHED, FAILED, HANGING, Outcome

Examine = Callable[[Case, str, Mapping[str, Any], Callable[[str], None]], Outcome]


@dataclass
class _Worker:
    """A child that examines one case and tells what it is doing, one JSON value a line."""

    case: Case
    pid: int
    pipe: int
    output: Any
    started: float
    deadline: float
    pending: bytes = b""
    doing: str = "start"
    outcome: Outcome | None = None


def run_cases(
    cases: Sequence[Case], target: str, options: Mapping[str, Any], examine: Examine, *, jobs: int, timeout: float
) -> Iterator[Outcome]:
    """The outcome of each case, in the order in which they end.

    A probe that takes longer than `timeout` seconds makes the case ``hanging``; its process and what that started are
    killed.
    """
    # What the children share they need not import again.
    from byoc.conformance.oracle import definitions

    definitions()
    waiting = list(reversed(cases))
    running: dict[int, _Worker] = {}
    selector = selectors.DefaultSelector()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                worker = _start(waiting.pop(), target, options, examine, timeout)
                running[worker.pipe] = worker
                selector.register(worker.pipe, selectors.EVENT_READ)
            nearest = min(w.deadline for w in running.values())
            for key, _ in selector.select(max(0.0, nearest - time.monotonic())):
                worker = running[key.fd]
                if not _read(worker, timeout):
                    selector.unregister(key.fd)
                    del running[key.fd]
                    yield _finish(worker)
            for worker in [w for w in running.values() if w.deadline <= time.monotonic()]:
                selector.unregister(worker.pipe)
                del running[worker.pipe]
                yield _stop(worker, timeout)
    finally:
        for worker in running.values():
            _stop(worker, timeout)
        selector.close()


def _start(case: Case, target: str, options: Mapping[str, Any], examine: Examine, timeout: float) -> _Worker:
    output = tempfile.TemporaryFile()  # noqa: SIM115 - the worker keeps it until it ends
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _child(case, target, options, examine, writing, output.fileno())
    os.close(writing)
    now = time.monotonic()
    return _Worker(case, pid, reading, output, now, now + timeout)


def _child(case: Case, target: str, options: Mapping[str, Any], examine: Examine, writing: int, output: int) -> None:
    """Never returns: whatever happens, the parent's code must not go on in this process."""
    code = 1
    try:
        os.setsid()  # compilers that it starts are killed with it
        os.dup2(output, 1)
        os.dup2(output, 2)

        def tell(value: Any) -> None:
            os.write(writing, json.dumps(value).encode() + b"\n")

        try:
            tell(asdict(examine(case, target, options, tell)))
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
            tell(asdict(Outcome(case.name, FAILED, "", text.splitlines()[0][:300])))
        code = 0
    finally:
        os._exit(code)


def _read(worker: _Worker, timeout: float) -> bool:
    """Take in what the child said; False once it has nothing more to say."""
    data = os.read(worker.pipe, 65536)
    worker.pending += data
    *lines, worker.pending = worker.pending.split(b"\n")
    for line in lines:
        value = json.loads(line)
        if isinstance(value, str):
            worker.doing = value
            worker.deadline = time.monotonic() + timeout
        else:
            value["patterns"] = tuple(value["patterns"])
            worker.outcome = Outcome(**value)
    return bool(data)


def _finish(worker: _Worker) -> Outcome:
    os.close(worker.pipe)
    _, status = os.waitpid(worker.pid, 0)
    seconds = time.monotonic() - worker.started
    said = _said(worker)
    if worker.outcome is not None:
        outcome = worker.outcome
        return replace(outcome, probe=outcome.probe or _unless_passed(outcome, worker.doing), seconds=seconds)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        why = f"killed by {signal.Signals(number).name}"
    else:
        why = f"exited with {os.waitstatus_to_exitcode(status)}"
    return Outcome(worker.case.name, CRASHED, worker.doing, f"{why}{f': {said}' if said else ''}", seconds=seconds)


def _unless_passed(outcome: Outcome, doing: str) -> str:
    return doing if outcome.status == FAILED else ""


def _stop(worker: _Worker, timeout: float) -> Outcome:
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(worker.pid, signal.SIGKILL)
    os.close(worker.pipe)
    os.waitpid(worker.pid, 0)
    _said(worker)
    seconds = time.monotonic() - worker.started
    return Outcome(worker.case.name, HANGING, worker.doing, f"did not end within {timeout:g} s", seconds=seconds)


def _said(worker: _Worker) -> str:
    """The last line that the child, or what it called, printed."""
    worker.output.seek(0)
    lines = worker.output.read().decode("utf-8", "replace").strip().splitlines()
    worker.output.close()
    return lines[-1][:200] if lines else ""
