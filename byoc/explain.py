"""Why each op is where it is: pure functions from a plan to rows, to text, and to JSON.

A host op appears under "Why on the host" once for each target that was asked for, since each has a reason of its own.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from byoc.errors import UsageError, did_you_mean
from byoc.partitioner.plan import HOST, percent
from byoc.text_table import bytes_text, flops_text, table

if TYPE_CHECKING:
    from byoc.partitioner.plan import FunctionPlan, Partition, Plan, PlannedOp, Verdict


@dataclass(frozen=True)
class Share:
    """What one owner has of the model; shares are between 0 and 1, of all ops and of all FLOPs."""

    owner: str
    ops: int
    ops_share: float
    flops: int
    flops_share: float
    partitions: int


@dataclass(frozen=True)
class PartitionRow:
    """One partition; `composites` counts the matches of each pattern, boundary figures are bytes per call."""

    function: str
    index: int
    target: str
    symbol: str
    ops: int
    composites: tuple[tuple[str, int], ...]
    flops: int
    bytes_in: int
    bytes_out: int
    first_node: str


@dataclass(frozen=True)
class HostReason:
    """Ops that one target does not have, for one reason, verbatim."""

    target: str
    stage: str
    reason: str
    ops: int
    flops: int
    op_types: tuple[tuple[str, int], ...]
    first_node: str


def shares(plan: Plan) -> tuple[Share, ...]:
    """The targets in their order of priority, the host last."""
    ops = [op for function in plan.functions for op in function.ops]
    all_flops = sum(op.flops for op in ops)
    rows = []
    for owner in (*(target.name for target in plan.targets), HOST):
        own = [op for op in ops if op.owner == owner]
        flops = sum(op.flops for op in own)
        partitions = sum(p.target == owner for function in plan.functions for p in function.partitions)
        rows.append(Share(owner, len(own), _ratio(len(own), len(ops)), flops, _ratio(flops, all_flops), partitions))
    return tuple(rows)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def partition_rows(plan: Plan) -> tuple[PartitionRow, ...]:
    """All partitions, in the order of the plan."""
    return tuple(
        _partition_row(function, partition) for function in plan.functions for partition in function.partitions
    )


def _partition_row(function: FunctionPlan, partition: Partition) -> PartitionRow:
    ops_by_index = {op.index: op for op in function.ops}
    ops = [ops_by_index[index] for index in partition.ops]
    return PartitionRow(
        function=function.name,
        index=partition.index,
        target=partition.target,
        symbol=partition.symbol,
        ops=len(ops),
        composites=_counted(composite.pattern for composite in partition.composites),
        flops=sum(op.flops for op in ops),
        bytes_in=partition.bytes_in,
        bytes_out=partition.bytes_out,
        first_node=node_label(ops[0]) if ops else "",
    )


def _counted(names: Iterator[str]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))


def host_reasons(plan: Plan) -> tuple[HostReason, ...]:
    """Every reason for which ops are on the host, the most FLOPs first, then the most ops."""
    groups: dict[tuple[str, str, str], list[PlannedOp]] = {}
    for function in plan.functions:
        for op in function.ops:
            if op.owner == HOST:
                for key in _refusals(op):
                    groups.setdefault(key, []).append(op)
    rows = [
        HostReason(
            target,
            stage,
            reason,
            len(ops),
            sum(op.flops for op in ops),
            _counted(op.op_type or op.op for op in ops),
            node_label(ops[0]),
        )
        for (target, stage, reason), ops in groups.items()
    ]
    return tuple(sorted(rows, key=lambda r: (-r.flops, -r.ops, r.target, r.stage, r.reason)))


def _refusals(op: PlannedOp) -> list[tuple[str, str, str]]:
    return [(v.target, v.stage, v.reason) for v in op.verdicts if not v.accepted]


def node_label(op: PlannedOp) -> str:
    """The ONNX name of the op, or its Relax name where the model gives none."""
    return op.node or f"%{op.index} {op.op}"


def find_ops(plan: Plan, node: str) -> list[tuple[FunctionPlan, PlannedOp]]:
    """The ops that stem from the ONNX node of this name.

    Raises :class:`UsageError` with the nearest name if there is none.
    """
    found = [(function, op) for function in plan.functions for op in function.ops if node_label(op) == node]
    if not found:
        known = {node_label(op) for function in plan.functions for op in function.ops}
        raise UsageError(
            f'no op of the plan stems from a node "{node}"',
            "the model has no such node, or it was folded into a constant or removed before planning",
            did_you_mean(node, known),
        )
    return found


def explain_json(plan: Plan) -> dict[str, Any]:
    """The whole explanation as JSON values."""
    return {
        "model": plan.model_name,
        "digest": plan.model_digest,
        "targets": [target.name for target in plan.targets],
        "summary": plan.summary(),
        "coverage": [asdict(share) for share in shares(plan)],
        "partitions": [_with_counts(asdict(row), "composites") for row in partition_rows(plan)],
        "host": [_with_counts(asdict(row), "op_types") for row in host_reasons(plan)],
    }


def _with_counts(row: dict[str, Any], key: str) -> dict[str, Any]:
    return {**row, key: dict(row[key])}


def explain_text(plan: Plan) -> str:
    """The whole explanation as text: coverage, partitions, reasons, and the summary line last."""
    sections = [_coverage_text(plan), _partitions_text(plan), host_text(plan), plan.summary()]
    return "\n\n".join(section for section in sections if section)


def plan_html(plan: Plan) -> str:
    """The whole explanation as an HTML fragment, for notebooks."""
    return f"<pre>{html.escape(explain_text(plan))}</pre>"


def _coverage_text(plan: Plan) -> str:
    owners = shares(plan)
    ops, flops = sum(s.ops for s in owners), sum(s.flops for s in owners)
    rows = [
        (s.owner, s.ops, percent(s.ops, ops), flops_text(s.flops), percent(s.flops, flops), s.partitions or "")
        for s in owners
    ]
    return "Coverage\n" + table(["owner", "ops", "of ops", "FLOPs", "of FLOPs", "partitions"], rows, "lrrrrr")


def _partitions_text(plan: Plan) -> str:
    several = len(plan.functions) > 1
    rows = [
        (
            f"{row.function}/{row.index}" if several else row.index,
            row.target,
            row.ops,
            flops_text(row.flops),
            bytes_text(row.bytes_in),
            bytes_text(row.bytes_out),
            row.first_node,
            counts_text(row.composites),
        )
        for row in partition_rows(plan)
    ]
    headers = ["#", "target", "ops", "FLOPs", "in", "out", "first node", "composites"]
    return "Partitions\n" + table(headers, rows, "rlrrrrll") if rows else ""


def host_text(plan: Plan) -> str:
    """The table "Why on the host", or one sentence where no op is there, or no target was asked."""
    title = "Why on the host\n"
    rows = [
        (r.ops, flops_text(r.flops), r.stage, r.target, counts_text(r.op_types), r.first_node, r.reason)
        for r in host_reasons(plan)
    ]
    if rows:
        return title + table(["ops", "FLOPs", "stage", "target", "types", "first node", "reason"], rows, "rrlllll")
    on_host = any(op.owner == HOST for function in plan.functions for op in function.ops)
    return title + ("No target was asked for." if on_host else "Every op is on a target.")


def counts_text(counts: tuple[tuple[str, int], ...], most: int = 3) -> str:
    """``conv2d x12, add x3, ...``."""
    shown = ", ".join(f"{name} x{count}" if count > 1 else name for name, count in counts[:most])
    return f"{shown}, ..." if len(counts) > most else shown


def explain_node_json(plan: Plan, node: str) -> list[dict[str, Any]]:
    """One JSON object for each op that the node became."""
    described = []
    for function, op in find_ops(plan, node):
        fields = asdict(op)
        described.append({"function": function.name, **fields, "partition_symbol": _symbol(function, op)})
    return described


def _symbol(function: FunctionPlan, op: PlannedOp) -> str | None:
    return next((p.symbol for p in function.partitions if p.index == op.partition and op.owner != HOST), None)


def explain_node_text(plan: Plan, node: str) -> str:
    """Where each op of one node is, and what every target said about it."""
    return "\n\n".join(_op_text(function, op) for function, op in find_ops(plan, node))


def _op_text(function: FunctionPlan, op: PlannedOp) -> str:
    shape = "?" if op.shape is None else ", ".join(str(dim) for dim in op.shape)
    lines = [
        f"{node_label(op)} ({op.op_type or 'no ONNX type'})",
        f"  op      {op.op} -> {op.dtype}[{shape}]  ({flops_text(op.flops)}, {bytes_text(op.bytes)})",
        f"  owner   {op.owner}{_place(function, op)}",
    ]
    for verdict in op.verdicts:
        lines.append(f"  {verdict.target}: {_said(verdict)}")
        lines += [f"    {label} {text}" for label, text in (("why:", verdict.reason), ("at: ", verdict.at)) if text]
    return "\n".join(lines)


def _said(verdict: Verdict) -> str:
    if verdict.accepted:
        return f'accepted by pattern "{verdict.pattern}"' if verdict.pattern else "accepted"
    nearest = f', nearest pattern "{verdict.pattern}"' if verdict.pattern else ""
    return f"refused at stage {verdict.stage}{nearest}"


def _place(function: FunctionPlan, op: PlannedOp) -> str:
    partition = next((p for p in function.partitions if op.owner != HOST and p.index == op.partition), None)
    if partition is None:
        return ""
    composite = next((c for c in partition.composites if op.index in c.ops), None)
    names = {other.index: node_label(other) for other in function.ops}
    others = [names[index] for index in composite.ops if index != op.index] if composite else []
    with_them = f" with {', '.join(others)}" if others else ""
    what = f', composite "{composite.pattern}"{with_them}' if composite else ""
    return f", partition {partition.index} ({partition.symbol}, {len(partition.ops)} ops){what}"
