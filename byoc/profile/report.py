"""Where the time of a run went: to partitions, host ops, memory, and the VM."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import median_low
from typing import Any

from byoc.partitioner.plan import FunctionPlan, Plan
from byoc.profile.recorder import Timeline, record
from byoc.runtime import Session
from byoc.text_table import table

_ALLOCATION = ("alloc", "kill_object", "null_value", "storage")


@dataclass(frozen=True)
class PartitionTime:
    """Seconds that a run spends in a partition; `ops` and `flops` are the plan's."""

    symbol: str
    target: str
    seconds: float
    calls: int
    ops: int
    flops: int


@dataclass(frozen=True)
class OpTime:
    """Seconds that a run spends in one call of a host kernel, and the ops of the model that it computes.

    `ops` are indices into the plan's function, `nodes` the model's nodes; both are empty for what stems from none.
    """

    symbol: str
    seconds: float
    calls: int
    op: str
    nodes: tuple[str, ...]
    ops: tuple[int, ...]


@dataclass(frozen=True)
class Overhead:
    """Seconds of a run that are neither in a partition nor in a host op."""

    name: str
    seconds: float
    calls: int


@dataclass(frozen=True)
class Profile:
    """One run, taken apart: that whose time is the median of `runs`.

    Attributes
    ----------
    seconds: wall time of that run, while it was followed.
    plain_seconds: median wall time of as many runs that were not followed.
    """

    entry: str
    runs: int
    seconds: float
    plain_seconds: float
    partitions: tuple[PartitionTime, ...]
    ops: tuple[OpTime, ...]
    overhead: tuple[Overhead, ...]
    timeline: Timeline

    @property
    def accounted(self) -> float:
        """The share of the wall time that the rows add up to."""
        named = [p.seconds for p in self.partitions]
        named += [op.seconds for op in self.ops] + [row.seconds for row in self.overhead]
        return sum(named) / self.seconds


def profile(session: Session, inputs: Mapping[str, Any], *, entry: str = "main", runs: int = 10) -> Profile:
    """Run a session `runs` times with and without following it, after one run to warm up.

    Raises :class:`InputError` and :class:`SessionError` as :meth:`Session.run` does.
    """
    session.run(inputs, entry=entry)
    plain, followed = [], []
    for _ in range(runs):
        start = time.perf_counter()
        session.run(inputs, entry=entry)
        plain.append(time.perf_counter() - start)
        followed.append(record(session, inputs, entry))
    middle = median_low([line.seconds for line in followed])
    chosen = next(line for line in followed if line.seconds == middle)
    plan = Plan.from_json(session.plan_json)
    function = next(f for f in plan.functions if f.name == entry)
    partitions, rest = _partitions(chosen, function)
    ops, overhead = _host(rest, session, function)
    overhead += [
        Overhead("inputs and outputs", chosen.edges, 1),
        Overhead("VM dispatch", chosen.dispatch, len(chosen.calls)),
        Overhead("profiler", chosen.recorder, 2 * len(chosen.calls)),
    ]
    return Profile(entry, runs, middle, median_low(plain), partitions, tuple(ops), tuple(overhead), chosen)


def _partitions(line: Timeline, function: FunctionPlan) -> tuple[tuple[PartitionTime, ...], list[tuple[str, float]]]:
    spent: dict[str, list[float]] = {p.symbol: [] for p in function.partitions}
    rest = []
    for call in line.calls:
        if call.symbol in spent:
            spent[call.symbol].append(call.seconds)
        else:
            rest.append((call.symbol, call.seconds))
    rows = []
    for part in function.partitions:
        flops = sum(function.ops[i].flops for i in part.ops)
        times = spent[part.symbol]
        rows.append(PartitionTime(part.symbol, part.target, sum(times), len(times), len(part.ops), flops))
    return tuple(rows), rest


def _host(
    calls: list[tuple[str, float]], session: Session, function: FunctionPlan
) -> tuple[list[OpTime], list[Overhead]]:
    """Kernels by the calls that the manifest lists, and everything of the VM's own by its name."""
    expected: dict[str, list[tuple[int, ...]]] = {}
    for kernel in session.manifest.kernels:
        if kernel.entry == function.name:
            expected.setdefault(kernel.symbol, []).append(kernel.ops)
    seen: dict[str, int] = {}
    ops: list[OpTime] = []
    own: dict[str, list[float]] = {}
    for symbol, seconds in calls:
        if symbol.startswith("vm.") and symbol not in expected:
            own.setdefault(_name_of_own(symbol), []).append(seconds)
            continue
        listed = expected.get(symbol, [])
        number = seen[symbol] = seen.get(symbol, -1) + 1
        indices = listed[number % len(listed)] if listed else ()
        planned = [function.ops[i] for i in indices]
        nodes = tuple(dict.fromkeys(op.node for op in planned if op.node))
        ops.append(OpTime(symbol, seconds, 1, " + ".join(op.op for op in planned), nodes, indices))
    ordered = sorted(own.items(), key=lambda item: -sum(item[1]))
    return ops, [Overhead(name, sum(times), len(times)) for name, times in ordered]


def _name_of_own(symbol: str) -> str:
    if any(word in symbol for word in _ALLOCATION):
        return "allocation"
    return f"VM: {symbol.rpartition('.')[2]}"


def profile_json(result: Profile) -> dict[str, Any]:
    """The profile as JSON values; times in seconds."""
    return {
        "entry": result.entry,
        "runs": result.runs,
        "seconds": result.seconds,
        "plain_seconds": result.plain_seconds,
        "accounted": result.accounted,
        "partitions": [asdict(row) for row in result.partitions],
        "ops": [asdict(row) for row in result.ops],
        "overhead": [asdict(row) for row in result.overhead],
    }


def profile_text(result: Profile, most: int = 20) -> str:
    """Tables of partitions, of the `most` slowest host ops, and of the rest; all shares are of the wall time."""

    def columns(seconds: float, calls: int) -> tuple[str, str, str]:
        return f"{seconds * 1e3:.3f}", f"{100 * seconds / result.seconds:.1f}%", str(calls)

    parts = [
        (p.symbol, p.target, str(p.ops), *columns(p.seconds, p.calls), _rate(p.flops, p.seconds))
        for p in sorted(result.partitions, key=lambda p: -p.seconds)
    ]
    slowest = sorted(result.ops, key=lambda o: -o.seconds)
    ops = [(_where(o), o.op or o.symbol, *columns(o.seconds, o.calls)) for o in slowest[:most]]
    left = slowest[most:]
    if left:
        seconds = sum(o.seconds for o in left)
        ops.append((f"({len(left)} more)", "", *columns(seconds, sum(o.calls for o in left))))
    rest = [(row.name, *columns(row.seconds, row.calls)) for row in result.overhead]
    blocks = [
        table(["partition", "target", "ops", "ms", "share", "calls", "GFLOP/s"], parts, "llrrrrr") if parts else "",
        table(["on the host", "ops", "ms", "share", "calls"], ops, "llrrr") if ops else "",
        table(["otherwise", "ms", "share", "calls"], rest, "lrrr"),
        f"{result.seconds * 1e3:.3f} ms a run, {result.plain_seconds * 1e3:.3f} ms when it is not followed "
        f"(medians of {result.runs}); {100 * result.accounted:.1f}% accounted for",
    ]
    return "\n\n".join(block for block in blocks if block)


def _where(row: OpTime) -> str:
    if not row.nodes:
        return "(of no node)"
    return row.nodes[0] if len(row.nodes) == 1 else f"{row.nodes[0]} + {len(row.nodes) - 1} more"


def _rate(flops: int, seconds: float) -> str:
    return f"{flops / seconds / 1e9:.1f}" if flops and seconds else ""
