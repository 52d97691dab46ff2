"""A profile in Chrome's trace format: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU

Opened by chrome://tracing and ui.perfetto.dev.
"""

from __future__ import annotations

from typing import Any

from byoc.profile.report import Profile

_LANES = ("partitions", "host", "VM")


def chrome_trace(result: Profile) -> dict[str, Any]:
    """One complete event for each call, in microseconds, on a lane for partitions, for the host and for the VM."""
    targets = {row.symbol: row.target for row in result.partitions}
    waiting: dict[str, list[Any]] = {}
    for row in result.ops:
        waiting.setdefault(row.symbol, []).append(row)
    events: list[dict[str, Any]] = [
        {"ph": "M", "name": "thread_name", "pid": 0, "tid": lane, "args": {"name": name}}
        for lane, name in enumerate(_LANES)
    ]
    for call in result.timeline.calls:
        rows = waiting.get(call.symbol)
        lane = 0 if call.symbol in targets else 1 if rows else 2
        arguments: dict[str, Any] = {}
        name = call.symbol
        if lane == 0:
            arguments = {"target": targets[call.symbol]}
        elif rows:
            row = rows.pop(0)
            name, arguments = row.op or row.symbol, {"kernel": row.symbol, "nodes": list(row.nodes)}
        event = {"ph": "X", "name": name, "cat": _LANES[lane], "pid": 0, "tid": lane, "args": arguments}
        events.append({**event, "ts": call.start * 1e6, "dur": call.seconds * 1e6})
    return {"traceEvents": events, "displayTimeUnit": "ms"}
