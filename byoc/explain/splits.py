"""What stands between two partitions of one target: the ops on the paths from one to the other."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush
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
    found: list[Split] = []
    for function in plan.functions:
        ancestry = _Ancestry(function)
        for after in function.partitions:
            between, sources = ancestry.of(after)
            for before in sources:
                on_paths = _reached(function, set(before.ops), between)
                found.append(_split(function, before, after, [function.ops[i] for i in on_paths]))
    return tuple(found)


class _Ancestry:
    """Which partitions an op or a partition depends on, as sets of bits by partition index."""

    def __init__(self, function: FunctionPlan) -> None:
        self.function = function
        self.of_op = [0] * len(function.ops)
        self.of_partition = [1 << p.index for p in function.partitions]
        self.of_target = {p.target: 0 for p in function.partitions}
        for p in function.partitions:
            self.of_target[p.target] |= 1 << p.index
        # Ops of one partition see what any of them depends on; ascending indices do not see all of it in one round.
        while self._round():
            pass

    def _round(self) -> bool:
        changed = False
        for op in self.function.ops:
            bits = self.of_partition[op.partition] if op.partition >= 0 else 0
            for producer in op.producers:
                bits |= self.of_op[producer]
            changed |= bits != self.of_op[op.index]
            self.of_op[op.index] = bits
            if op.partition >= 0:
                self.of_partition[op.partition] |= bits
        return changed

    def of(self, after: Partition) -> tuple[set[int], list[Partition]]:
        """Ops of other owners on the way to `after`, and the nearest partitions of its target that they lead from.

        Walks back from the last op to the first, and not beyond ops that lead from farther partitions only.
        """
        ops, mine = self.function.ops, self.of_target[after.target]
        between: set[int] = set()
        sources: set[int] = set()
        farther = 0
        waiting = [-p for i in after.ops for p in ops[i].producers]
        heapify(waiting)
        while waiting:
            op = ops[-heappop(waiting)]
            if op.owner == after.target:
                continue
            if op.index in between or not self.of_op[op.index] & mine & ~farther:
                continue
            between.add(op.index)
            for producer in op.producers:
                index = ops[producer].partition
                if ops[producer].owner == after.target and index != after.index:
                    sources.add(index)
                    farther |= self.of_partition[index] & ~(1 << index)
                else:
                    heappush(waiting, -producer)
        nearest = [s for s in sorted(sources) if not farther >> s & 1]
        return between, [self.function.partitions[s] for s in nearest]


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
