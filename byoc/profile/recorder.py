"""Follow a run call by call."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from byoc.runtime import Session


@dataclass(frozen=True)
class Call:
    """One call that the VM made; `start` and `seconds` are in seconds, from the beginning of the run.

    `seconds` is the time in the call itself, without calls that it made in turn.
    """

    symbol: str
    start: float
    seconds: float


@dataclass(frozen=True)
class Timeline:
    """All of one run's wall time.

    Attributes
    ----------
    calls: in the order in which they began.
    edges: from the beginning of the run to its first call, and from its last call to its end: inputs, outputs.
    dispatch: between calls: the VM itself, and handing a call's arguments to the recorder.
    recorder: in the recorder.
    """

    seconds: float
    calls: tuple[Call, ...]
    edges: float
    dispatch: float
    recorder: float


class Recorder:
    """An instrument for :meth:`byoc.runtime.Session.set_instrument` that notes when each call begins and ends."""

    def __init__(self) -> None:
        self.events: list[tuple[str, bool, int]] = []
        self.left: list[int] = []

    def __call__(self, function: Any, symbol: str, before: bool, result: Any, *arguments: Any) -> int:
        self.events.append((symbol, before, time.perf_counter_ns()))
        self.left.append(time.perf_counter_ns())
        return 0


def record(session: Session, inputs: Mapping[str, Any], entry: str) -> Timeline:
    """Run once and follow it.  No other thread may use the session meanwhile."""
    recorder = Recorder()
    session.set_instrument(recorder)
    try:
        begin = time.perf_counter_ns()
        session.run(inputs, entry=entry)
        end = time.perf_counter_ns()
    finally:
        session.set_instrument(None)
    return _timeline(recorder, begin, end)


def _timeline(recorder: Recorder, begin: int, end: int) -> Timeline:
    """Every nanosecond between `begin` and `end` goes to a call, an edge, the dispatch or the recorder."""
    calls: list[Call | None] = []
    open_calls: list[tuple[int, str, int]] = []
    own: dict[int, int] = {}
    edges = dispatch = callbacks = 0
    resumed = begin
    for (symbol, before, entered), left in zip(recorder.events, recorder.left, strict=True):
        gap = entered - resumed
        if open_calls:
            own[open_calls[-1][0]] += gap
        elif calls:
            dispatch += gap
        else:
            edges += gap
        if before:
            open_calls.append((len(calls), str(symbol), left))
            own[len(calls)] = 0
            calls.append(None)
        else:
            number, name, started = open_calls.pop()
            calls[number] = Call(name, (started - begin) / 1e9, own[number] / 1e9)
        callbacks += left - entered
        resumed = left
    edges += end - resumed
    done = tuple(call for call in calls if call is not None)
    return Timeline((end - begin) / 1e9, done, edges / 1e9, dispatch / 1e9, callbacks / 1e9)
