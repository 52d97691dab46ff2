"""A plan of some two thousand ops with residual blocks, two targets and the host, made without a model."""

from __future__ import annotations

from byoc.partitioner.plan import Plan, Settings, TargetUse
from byoc.partitioner.planner import plan_functions
from tests.unit.dags import graph_from, target


def large_plan(ops: int = 2000) -> Plan:
    """Blocks of nine ops; every fourth block has an op that no target takes."""
    built: list[tuple[str, list[int]]] = [("conv2d", [-1])]
    block = 0
    while len(built) < ops:
        start = len(built) - 1
        names = ["conv2d", "relu", "conv2d", "add", "relu", "matmul", "softmax" if block % 4 == 3 else "tanh", "matmul"]
        for name in names[: ops - len(built)]:
            built.append((name, [len(built) - 1]))
        if len(built) < ops:
            built.append(("add", [len(built) - 1, start]))
        block += 1
    targets = [target("npu", ["conv2d", "relu", "add"]), target("dsp", ["matmul", "tanh"])]
    functions = plan_functions([graph_from(built)], targets, Settings())
    return Plan("large", "ab" * 32, "cd" * 32, tuple(TargetUse(t.name, "1") for t in targets), Settings(), functions)
