"""Progress bars: for people only, one per stage."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console
from rich.progress import Progress

from byoc.cli.progress import StageBars, progress_bars


def test_no_bars_are_drawn_where_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bars() as progress:
        assert progress is None
    assert capsys.readouterr().err == ""


def test_bars_go_to_stderr_where_it_is_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress_bars() as progress:
        assert progress is not None
        progress("emit", 1, 3)
    captured = capsys.readouterr()
    assert captured.out == "" and "emit" in captured.err and "1/3" in captured.err


def test_a_stage_is_over_when_the_next_one_begins() -> None:
    bars = Progress(console=Console(file=io.StringIO()), disable=True)
    report = StageBars(bars)
    report("import", 0, 1)
    report("emit", 2, 5)
    first, second = bars.tasks
    assert first.finished and not second.finished
    assert (second.completed, second.total, second.fields["count"]) == (2, 5, "2/5")
