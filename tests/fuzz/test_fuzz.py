"""Damaged files are refused with an error of byoc, or give what the sound file gives.

A few of each here; ``python -m tests.fuzz --count N`` tries any number, in processes that may crash or hang.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.fuzz import drive, sound_files
from tests.fuzz.subjects import ACCEPTED, REFUSED, SUBJECTS, Subject, outcome

A_FEW = {"artifact": 150, "manifest": 40, "plan": 25, "costs": 30, "state": 80, "checkpoint": 15, "model graphs": 40}


@pytest.fixture
def own_models_only(monkeypatch: pytest.MonkeyPatch) -> None:
    sound_files.models.cache_clear()
    monkeypatch.setattr(sound_files, "shared_models", list)


@pytest.mark.parametrize("name", A_FEW)
def test_damaged_files_are_refused_or_give_what_the_sound_one_gives(
    name: str, tmp_path: Path, own_models_only: None
) -> None:
    came = {number: outcome(name, number, 7, tmp_path)[0] for number in range(A_FEW[name])}
    assert {number: kind for number, kind in came.items() if kind not in (ACCEPTED, REFUSED)} == {}
    assert REFUSED in came.values()


@pytest.mark.slow
@pytest.mark.parametrize("name", SUBJECTS)
def test_many_damaged_files_crash_and_hang_nothing(name: str) -> None:
    tally = drive.drive(name, range(40 if name == "model runs" else 400), seed=11)
    assert tally.faults == []
    assert tally.refused > 0


def test_the_same_number_gives_the_same_damage(tmp_path: Path) -> None:
    assert outcome("artifact", 3, 1, tmp_path) == outcome("artifact", 3, 1, tmp_path)


def test_a_traceback_is_told_with_its_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails(content: bytes, folder: Path) -> str:
        raise KeyError("nodes")

    monkeypatch.setitem(SUBJECTS, "bad", Subject(lambda chance: b"", fails))
    kind, told = drive._try_one("bad", 0, 0, tmp_path, None)
    assert kind == "traceback" and "KeyError at" in told and "test_fuzz.py" in told


def _sleeps_or_dies(pipe: object, name: str, numbers: list[int], seed: int, keep: Path | None) -> None:
    for number in numbers:
        if number == 1:
            os._exit(7)
        if number == 3:
            time.sleep(60)
        pipe.send((REFUSED, ""))  # type: ignore[attr-defined]


def test_a_crash_and_a_hang_stop_one_file_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drive, "_work", _sleeps_or_dies)
    tally = drive.drive("artifact", range(5), seconds=0.5)
    assert tally.refused == 3
    assert [(fault.number, fault.kind) for fault in tally.faults] == [(1, "crash"), (3, "hang")]
    assert tally.faults[0].told == "exit code 7"
