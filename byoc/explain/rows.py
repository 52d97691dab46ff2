"""Why each op is where it is: pure functions from a plan to rows, to text, and to JSON.

A host op appears under "Why on the host" once for each target that was asked for, since each has a reason of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from byoc.partitioner.plan import HOST

if TYPE_CHECKING:
    from byoc.partitioner.plan import FunctionPlan, Partition, Plan, PlannedOp


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


@dataclass(frozen=True)
class FloatReason:
    """Ops of a quantised model that are computed in float, for one reason."""

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
        composites=counted(composite.pattern for composite in partition.composites),
        flops=sum(op.flops for op in ops),
        bytes_in=partition.bytes_in,
        bytes_out=partition.bytes_out,
        first_node=node_label(ops[0]) if ops else "",
    )


def counted(names: Iterator[str]) -> tuple[tuple[str, int], ...]:
    """How often each name occurs, the most frequent first."""
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
            counted(op.op_type or op.op for op in ops),
            node_label(ops[0]),
        )
        for (target, stage, reason), ops in groups.items()
    ]
    return tuple(sorted(rows, key=lambda r: (-r.flops, -r.ops, r.target, r.stage, r.reason)))


def float_reasons(plan: Plan) -> tuple[FloatReason, ...]:
    """Every reason for which ops between DequantizeLinear and QuantizeLinear stay float, the most FLOPs first."""
    groups: dict[str, list[PlannedOp]] = {}
    for op in (op for function in plan.functions for op in function.ops if op.note):
        groups.setdefault(op.note, []).append(op)
    rows = [
        FloatReason(
            reason, len(ops), sum(o.flops for o in ops), counted(o.op_type or o.op for o in ops), node_label(ops[0])
        )
        for reason, ops in groups.items()
    ]
    return tuple(sorted(rows, key=lambda r: (-r.flops, -r.ops, r.reason)))


def _refusals(op: PlannedOp) -> list[tuple[str, str, str]]:
    return [(v.target, v.stage, v.reason) for v in op.verdicts if not v.accepted]


def node_label(op: PlannedOp) -> str:
    """The ONNX name of the op, or its Relax name where the model gives none."""
    return op.node or f"%{op.index} {op.op}"
