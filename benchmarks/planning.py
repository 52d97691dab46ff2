"""How long planning takes as graphs grow: import, canonical form, and planning proper, for 1,000 to 50,000 ops.

python benchmarks/planning.py [--ops 1000 10000 50000] [--targets null,csource]
"""

from __future__ import annotations

import argparse
import platform
import random
import time

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from byoc.model import prepare_model
from byoc.partitioner.consistency import check_consistency
from byoc.partitioner.plan import Plan, Settings, TargetUse
from byoc.partitioner.planner import fingerprint, plan_functions
from byoc.partitioner.target import find_targets

KINDS = ("MatMul", "Relu", "Add", "Exp", "Softmax", "Sin")


def network(ops: int, seed: int = 0) -> onnx.ModelProto:
    """A random network of (4, 16) tensors with residual connections; every MatMul has its own weight."""
    rng = random.Random(seed)
    weights = np.random.default_rng(seed)
    nodes, initializers, names = [], [], ["x"]
    for index in range(ops):
        kind = rng.choice(KINDS)
        inputs = [names[-1]]
        if kind == "MatMul":
            weight = weights.standard_normal((16, 16), dtype="float32") / 16
            initializers.append(numpy_helper.from_array(weight, f"w{index}"))
            inputs.append(f"w{index}")
        if kind == "Add":
            inputs.append(names[-rng.randint(1, min(40, len(names)))])
        nodes.append(helper.make_node(kind, inputs, [f"v{index}"], name=f"/{kind}_{index}"))
        names.append(f"v{index}")
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "random",
        [info("x", TensorProto.FLOAT, [4, 16])],
        [info(names[-1], TensorProto.FLOAT, [4, 16])],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def measure(ops: int, target_names: list[str], policy: str) -> tuple[int, float, float, Plan]:
    """Ops in the canonical graph, seconds to prepare and to plan, and the plan."""
    model = network(ops)
    targets = find_targets(target_names)
    begin = time.perf_counter()
    prepared = prepare_model(model, targets)
    middle = time.perf_counter()
    graphs = list(prepared.graphs.values())
    functions = plan_functions(graphs, targets, Settings(policy=policy))
    mark = fingerprint(graphs)
    end = time.perf_counter()
    uses = tuple(TargetUse(t.name, t.version) for t in targets)
    plan = Plan("random", prepared.digest, mark, uses, Settings(policy=policy), functions)
    check_consistency(plan)
    return len(graphs[0].nodes), middle - begin, end - middle, plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ops", type=int, nargs="+", default=[1000, 10_000, 50_000])
    parser.add_argument("--targets", default="csource")
    arguments = parser.parse_args()
    measure(50, arguments.targets.split(","), "priority")
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    print(f"{'ops':>7} {'policy':>9} {'prepare s':>10} {'plan s':>7} {'whole s':>8} {'µs/op':>6} {'partitions':>10}")
    for ops in arguments.ops:
        for policy in ("priority", "cost"):
            count, prepare, planning, plan = measure(ops, arguments.targets.split(","), policy)
            partitions = sum(len(f.partitions) for f in plan.functions)
            whole = prepare + planning
            print(
                f"{count:7} {policy:>9} {prepare:10.2f} {planning:7.2f} {whole:8.2f} {whole / count * 1e6:6.0f} "
                f"{partitions:10}"
            )


if __name__ == "__main__":
    main()
