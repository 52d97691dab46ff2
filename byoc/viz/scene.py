"""What a picture of a plan shows: boxes for partitions and host ops, ops inside partitions, and where they all are."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from byoc.partitioner.plan import HOST
from byoc.viz.layered import Drawing, draw

if TYPE_CHECKING:
    from byoc.partitioner.plan import FunctionPlan, Partition, Plan

OP_SIZE = (156.0, 40.0)
PARTITION_SIZE = (208.0, 76.0)
HEADER = 34.0  # height of the title of an expanded partition
PADDING = 6.0
FUNCTION_GAP = 120.0


@dataclass(frozen=True)
class Item:
    """A box of the outer graph: a partition, or one host op; the other is -1."""

    partition: int
    op: int


@dataclass(frozen=True)
class FunctionScene:
    """One entry function.

    `inner` holds the drawing of each partition's ops, in the order of its `ops`; `collapsed` and `expanded` those of
    the items with all partitions closed and open.
    """

    function: FunctionPlan
    items: tuple[Item, ...]
    inner: tuple[Drawing, ...]
    collapsed: Drawing
    expanded: Drawing

    def size_of(self, item: Item, expanded: bool) -> tuple[float, float]:
        """Width and height of an item in pixels."""
        if item.partition < 0:
            return OP_SIZE
        return expanded_size(self.inner[item.partition]) if expanded else PARTITION_SIZE


def scene(plan: Plan) -> tuple[FunctionScene, ...]:
    """Lay out every entry function."""
    return tuple(_function_scene(function) for function in plan.functions)


def expanded_size(inner: Drawing) -> tuple[float, float]:
    """Size of an open partition around its ops."""
    return max(inner.width + 2 * PADDING, PARTITION_SIZE[0]), inner.height + HEADER + PADDING


def _function_scene(function: FunctionPlan) -> FunctionScene:
    items, edges = _outer_graph(function)
    inner = tuple(_inner(function, p) for p in function.partitions)
    closed = [PARTITION_SIZE if i.partition >= 0 else OP_SIZE for i in items]
    opened = [expanded_size(inner[i.partition]) if i.partition >= 0 else OP_SIZE for i in items]
    return FunctionScene(function, tuple(items), inner, draw(closed, edges), draw(opened, edges))


def _inner(function: FunctionPlan, partition: Partition) -> Drawing:
    position = {op: k for k, op in enumerate(partition.ops)}
    edges = [(position[p], position[i]) for i in partition.ops for p in function.ops[i].producers if p in position]
    return draw([OP_SIZE] * len(partition.ops), edges)


def _outer_graph(function: FunctionPlan) -> tuple[list[Item], list[tuple[int, int]]]:
    """Items in a topological order, and edges between them by position."""
    group = [op.partition if op.owner != HOST else -1 - op.index for op in function.ops]
    readers: dict[int, set[int]] = {g: set() for g in group}
    for op in function.ops:
        for producer in op.producers:
            if group[producer] != group[op.index]:
                readers[group[producer]].add(group[op.index])
    order = _topological(group, readers)
    position = {g: k for k, g in enumerate(order)}
    edges = [(position[a], position[b]) for a, reading in readers.items() for b in reading]
    return [Item(g, -1) if g >= 0 else Item(-1, -1 - g) for g in order], edges


def _topological(group: list[int], readers: dict[int, set[int]]) -> list[int]:
    """The groups in topological order, the one with the earliest op first where there is a choice."""
    first: dict[int, int] = {}
    for index, g in enumerate(group):
        first.setdefault(g, index)
    waiting = dict.fromkeys(readers, 0)
    for reading in readers.values():
        for g in reading:
            waiting[g] += 1
    ready = [(first[g], g) for g, count in waiting.items() if not count]
    heapify(ready)
    order = []
    while ready:
        _, g = heappop(ready)
        order.append(g)
        for reader in readers[g]:
            waiting[reader] -= 1
            if not waiting[reader]:
                heappush(ready, (first[reader], reader))
    return order
