"""Runs damaged files in a process of their own, which may crash or hang without stopping the others."""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from tests.fuzz.subjects import ACCEPTED, DIFFERENT, REFUSED, outcome

MEMORY = 24 << 30  # bytes of address space; the libraries alone take several
SETTING_UP = 300.0  # seconds for the sound files to be made


@dataclass(frozen=True)
class Fault:
    """A file that was not taken as it should be; `kind` is different, traceback, crash or hang."""

    number: int
    kind: str
    told: str


@dataclass
class Tally:
    refused: int = 0
    accepted: int = 0
    faults: list[Fault] = field(default_factory=list)


def drive(name: str, numbers: Sequence[int], seed: int = 0, seconds: float = 60.0, keep: Path | None = None) -> Tally:
    """Try the damaged files of these numbers; `seconds` are for one."""
    tally, left = Tally(), list(numbers)
    context = multiprocessing.get_context("spawn")
    while left:
        ours, theirs = context.Pipe()
        worker = context.Process(target=_work, args=(theirs, name, left, seed, keep), daemon=True)
        worker.start()
        theirs.close()
        done, hangs = _listen(ours, tally, left, seconds)
        if hangs:
            worker.kill()
        worker.join()
        if done < len(left):
            told = f"longer than {seconds:g} s" if hangs else f"exit code {worker.exitcode}"
            tally.faults.append(Fault(left[done], "hang" if hangs else "crash", told))
            done += 1
        left = left[done:]
    return tally


def _listen(pipe: Connection, tally: Tally, left: Sequence[int], seconds: float) -> tuple[int, bool]:
    """Take answers for as long as they come: how many did, and whether the next is overdue."""
    for done, number in enumerate(left):
        if not pipe.poll(seconds if done else SETTING_UP):
            return done, True
        try:
            kind, told = pipe.recv()
        except EOFError:
            return done, False
        if kind == REFUSED:
            tally.refused += 1
        elif kind == ACCEPTED:
            tally.accepted += 1
        else:
            tally.faults.append(Fault(number, kind, told))
    return len(left), False


def _work(pipe: Connection, name: str, numbers: Sequence[int], seed: int, keep: Path | None) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with tempfile.TemporaryDirectory(prefix="byoc-fuzz-") as folder:
        for number in numbers:
            pipe.send(_try_one(name, number, seed, Path(folder), keep))


def _try_one(name: str, number: int, seed: int, folder: Path, keep: Path | None) -> tuple[str, str]:
    try:
        kind, content = outcome(name, number, seed, folder)
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return "traceback", f"{type(error).__name__} at {where.filename}:{where.lineno}: {str(error)[:300]}"
    if kind == DIFFERENT and keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        (keep / f"{name.replace(' ', '-')}-{seed}-{number}").write_bytes(content)
    return kind, "another result than the sound file's or ONNX Runtime's" if kind == DIFFERENT else ""
