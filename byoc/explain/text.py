"""The whole explanation as text."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from byoc.explain.rows import float_reasons, host_reasons, partition_rows, shares
from byoc.explain.splits import Split, splits
from byoc.partitioner.plan import HOST, percent
from byoc.text_table import bytes_text, flops_text, table

if TYPE_CHECKING:
    from byoc.partitioner.plan import Plan
    from byoc.suggest import Suggestion


def explain_text(plan: Plan, suggestion: Suggestion | None = None) -> str:
    """The whole explanation as text: coverage, partitions, reasons, a suggestion, and the summary line last."""
    sections = [
        _coverage_text(plan),
        _partitions_text(plan),
        _splits_text(plan),
        host_text(plan),
        _float_text(plan),
        suggestion_text(suggestion) if suggestion else "",
        plan.summary(),
    ]
    return "\n\n".join(section for section in sections if section)


def _coverage_text(plan: Plan) -> str:
    owners = shares(plan)
    ops, flops = sum(s.ops for s in owners), sum(s.flops for s in owners)
    rows = [
        (s.owner, s.ops, percent(s.ops, ops), flops_text(s.flops), percent(s.flops, flops), s.partitions or "")
        for s in owners
    ]
    return "Coverage\n" + table(["owner", "ops", "of ops", "FLOPs", "of FLOPs", "partitions"], rows, "lrrrrr")


def _partitions_text(plan: Plan) -> str:
    rows = [
        (
            _number(plan, row.function, row.index),
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


def _number(plan: Plan, function: str, index: int) -> str:
    return f"{function}/{index}" if len(plan.functions) > 1 else str(index)


def _splits_text(plan: Plan) -> str:
    groups: dict[tuple[str, str, str], list[Split]] = {}
    for row in splits(plan):
        groups.setdefault((row.target, row.stage, row.reason), []).append(row)
    rows = [
        (_pairs(plan, same), target, same[0].ops, stage, counts_text(same[0].op_types), same[0].first_node, reason)
        for (target, stage, reason), same in groups.items()
    ]
    headers = ["between", "target", "ops", "stage", "types", "first node", "reason"]
    return "What splits partitions\n" + table(headers, rows, "llrllll") if rows else ""


def _pairs(plan: Plan, same: list[Split]) -> str:
    first = f"{_number(plan, same[0].function, same[0].before)} -> {_number(plan, same[0].function, same[0].after)}"
    return first if len(same) == 1 else f"{first} and {len(same) - 1} more"


def suggestion_text(suggestion: Suggestion) -> str:
    """What to change, how to ask for it, and what the plan will be then."""
    now, then = suggestion.now, suggestion.then
    rows = [
        ("ops on targets", f"{now.ops}/{now.all_ops}", f"{then.ops}/{then.all_ops}"),
        ("FLOPs on targets", percent(now.flops, now.all_flops), percent(then.flops, then.all_flops)),
        ("partitions", now.partitions, then.partitions),
        ("across boundaries", bytes_text(now.boundary_bytes), bytes_text(then.boundary_bytes)),
    ]
    command = shlex.join(suggestion.flags)
    return f"Suggestion\n{suggestion.change}: {command}\n" + table(["", "now", "then"], rows, "lrr")


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


def _float_text(plan: Plan) -> str:
    rows = [
        (r.ops, flops_text(r.flops), counts_text(r.op_types), r.first_node, r.reason) for r in float_reasons(plan)
    ]  # fmt: skip
    headers = ["ops", "FLOPs", "types", "first node", "reason"]
    return "What stays float\n" + table(headers, rows, "rrlll") if rows else ""


def counts_text(counts: tuple[tuple[str, int], ...], most: int = 3) -> str:
    """``conv2d x12, add x3, ...``."""
    shown = ", ".join(f"{name} x{count}" if count > 1 else name for name, count in counts[:most])
    return f"{shown}, ..." if len(counts) > most else shown
