"""Everything that a plan says about one node of the model."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from byoc.errors import UsageError, did_you_mean
from byoc.explain.rows import node_label
from byoc.partitioner.plan import HOST
from byoc.text_table import bytes_text, flops_text

if TYPE_CHECKING:
    from byoc.partitioner.plan import FunctionPlan, Plan, PlannedOp, Verdict


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
    if op.note:
        lines.append(f"  float   {op.note}")
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
