"""Whether a plan makes sense by itself, and whether it is one of these graphs."""

from __future__ import annotations

import re
from collections.abc import Mapping

from byoc.errors import PlanError
from byoc.graph import Graph
from byoc.partitioner.plan import HOST, FunctionPlan, Plan

_SYMBOL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def check_consistency(plan: Plan) -> None:
    """Raise :class:`PlanError` unless every op has one owner, every index is in range, and no name stands twice."""
    names = {t.name for t in plan.targets}
    symbols = {function.name for function in plan.functions}
    if len(symbols) != len(plan.functions):
        raise PlanError("the plan lists an entry function twice")
    for function in plan.functions:
        _check_ops(function, names)
        owned = _check_partitions(function, names, symbols)
        for op in function.ops:
            if op.partition != owned.get(op.index, -1) or (op.owner == HOST) != (op.partition == -1):
                raise PlanError(f"op {op.index} ({op.node}) of {function.name} has two owners")


def _check_ops(function: FunctionPlan, targets: set[str]) -> None:
    for position, op in enumerate(function.ops):
        if op.index != position or any(not 0 <= p < position for p in op.producers):
            raise PlanError(f"the plan of {function.name} lists op {op.index} out of order")
        if op.owner != HOST and op.owner not in targets:
            raise PlanError(f"op {op.index} ({op.node}) of {function.name} has the unknown owner {op.owner!r}")


def _check_partitions(function: FunctionPlan, targets: set[str], symbols: set[str]) -> dict[int, int]:
    """Adds the partitions' symbols to `symbols`; gives the partition of each op that has one."""
    owned: dict[int, int] = {}
    for index, partition in enumerate(function.partitions):
        if partition.index != index or partition.target not in targets:
            raise PlanError(f"partition {partition.symbol} of {function.name} is out of order or has no target")
        if not _SYMBOL.fullmatch(partition.symbol) or partition.symbol in symbols:
            raise PlanError(
                f'partition {index} of {function.name} cannot be called "{partition.symbol[:80]}"',
                "it becomes a function of that name, so that it is an identifier that nothing else has",
            )
        symbols.add(partition.symbol)
        if sorted(i for c in partition.composites for i in c.ops) != list(partition.ops):
            raise PlanError(f"the composites of partition {partition.symbol} do not cover its ops exactly once")
        for composite in partition.composites:
            if composite.root not in composite.ops:
                raise PlanError(f"a composite of partition {partition.symbol} has its root at op {composite.root}")
        for i in partition.ops:
            if not 0 <= i < len(function.ops) or i in owned or function.ops[i].owner != partition.target:
                raise PlanError(f"op {i} of {function.name} does not belong to partition {partition.symbol}")
            owned[i] = index
    return owned


def check_plan_of(plan: Plan, graphs: Mapping[str, Graph]) -> None:
    """Raise :class:`PlanError` unless the plan lists the ops of these graphs."""
    if [f.name for f in plan.functions] != list(graphs):
        raise PlanError(
            f"the plan is of the entry functions {', '.join(f.name[:80] for f in plan.functions) or 'of none'}",
            f"the model has {', '.join(graphs)}",
            "make a plan for this model with --save-plan",
        )
    for function in plan.functions:
        graph = graphs[function.name]
        if [op.op for op in function.ops] != [node.op for node in graph.nodes]:
            raise PlanError(
                f"the plan of {function.name} lists {len(function.ops)} ops that are not the model's",
                f"the model has {len(graph.nodes)}, and each must be listed in its place",
                "make a plan for this model with --save-plan",
            )
