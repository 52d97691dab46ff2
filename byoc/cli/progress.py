"""Progress bars on stderr, for people only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

Progress = Callable[[str, int, int], None]


@contextmanager
def progress_bars(remaining: bool = False) -> Iterator[Progress | None]:
    """A callback ``(stage, done, total)`` that draws one bar per stage; ``None`` where stderr is no terminal.

    `remaining`: with the time that is left, as far as it can be told.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich import progress as bars
    from rich.console import Console

    columns = [
        bars.TextColumn("{task.description:<8}"),
        bars.BarColumn(),
        bars.TextColumn("{task.fields[count]:>9}"),
        bars.TimeElapsedColumn(),
    ]
    if remaining:
        columns += [bars.TextColumn("left"), bars.TimeRemainingColumn(elapsed_when_finished=False)]
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as drawn:
        yield StageBars(drawn)


class StageBars:
    """One bar per stage.  A stage of one step has a bar without end; it is over when the next stage begins."""

    def __init__(self, bars: Bars) -> None:
        self.bars = bars
        self.tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in self.tasks:
            for task in self.tasks.values():
                self.bars.update(task, total=1, completed=1)
                self.bars.stop_task(task)
            self.tasks[stage] = self.bars.add_task(stage, total=None, count="")
        if total > 1:
            self.bars.update(self.tasks[stage], completed=done, total=total, count=f"{done}/{total}")
