"""What stands between two partitions of one target: the ops on the paths from one to the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from byoc.explain.rows import counted, node_label

if TYPE_CHECKING:
    from byoc.partitioner.plan import FunctionPlan, Partition, Plan, PlannedOp


@dataclass(frozen=True)
class Split:
    """Two partitions of one target and the ops that keep them apart.

    `ops` counts those on the paths from `before` to `after` that meet no other partition of the target; `first_node` is
    the first of them, `stage` and `reason` are why the target does not have it.
    """

    function: str
    target: str
    before: int
    after: int
    ops: int
    flops: int
    op_types: tuple[tuple[str, int], ...]
    first_node: str
    stage: str
    reason: str


def splits(plan: Plan) -> tuple[Split, ...]:
    """Every pair of partitions of one target with a path between them through ops that it does not have.

    Pairs with another partition of the target between them are left out: what splits those says it all.
    """
    return tuple(
        s
        for function in plan.functions
        for earlier in [_earlier_partitions(function)]
        for partition in function.partitions
        for s in _before(function, partition, earlier)
    )


def _earlier_partitions(function: FunctionPlan) -> list[int]:
    """For each partition those that it depends on, itself included, as a set of bits."""
    up_to = [0] * len(function.ops)
    earlier = [1 << p.index for p in function.partitions]
    # Ops of one partition see what any of them depends on; ascending indices do not see all of it in one round.
    changed = True
    while changed:
        changed = False
        for op in function.ops:
            bits = earlier[op.partition] if op.partition >= 0 else 0
            for producer in op.producers:
                bits |= up_to[producer]
            changed |= bits != up_to[op.index]
            up_to[op.index] = bits
            if op.partition >= 0:
                earlier[op.partition] |= bits
    return earlier


def _before(function: FunctionPlan, after: Partition, earlier: list[int]) -> list[Split]:
    between = _foreign_ancestors(function, after)
    sources = sorted({p for i in between for p in _source_partitions(function, i, after)})
    nearest = [a for a in sources if not any(earlier[b] >> a & 1 for b in sources if b != a)]
    found = []
    for before in (function.partitions[index] for index in nearest):
        on_paths = _reached(function, set(before.ops), between)
        found.append(_split(function, before, after, [function.ops[i] for i in on_paths]))
    return found


def _foreign_ancestors(function: FunctionPlan, after: Partition) -> set[int]:
    """Ops of other owners from which `after` is reached without meeting its target before."""
    found: set[int] = set()
    stack = list(after.ops)
    while stack:
        for producer in function.ops[stack.pop()].producers:
            if producer not in found and function.ops[producer].owner != after.target:
                found.add(producer)
                stack.append(producer)
    return found


def _source_partitions(function: FunctionPlan, op: int, after: Partition) -> set[int]:
    """Partitions of the target of `after` that the op reads from."""
    producers = (function.ops[p] for p in function.ops[op].producers)
    return {p.partition for p in producers if p.owner == after.target and p.partition != after.index}


def _reached(function: FunctionPlan, start: set[int], within: set[int]) -> list[int]:
    """The ops of `within` that depend on `start` through ops of `within` only, in topological order."""
    reached: set[int] = set()
    for i in sorted(within):
        if any(p in start or p in reached for p in function.ops[i].producers):
            reached.add(i)
    return sorted(reached)


def _split(function: FunctionPlan, before: Partition, after: Partition, ops: list[PlannedOp]) -> Split:
    verdict = next(v for v in ops[0].verdicts if v.target == after.target)
    return Split(
        function=function.name,
        target=after.target,
        before=before.index,
        after=after.index,
        ops=len(ops),
        flops=sum(op.flops for op in ops),
        op_types=counted(op.op_type or op.op for op in ops),
        first_node=node_label(ops[0]),
        stage=verdict.stage,
        reason=verdict.reason,
    )
