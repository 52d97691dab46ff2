"""What a call of a partition costs when the partition has next to nothing to do, and what a run allocates.

    python -m benchmarks.call_overhead [--targets csource,dnnl] [--calls 1000]

A model of N copies of one tiny op, each in a partition of its own, is run with two values of N; the difference of the
medians over the difference of N is the time of one call, the VM's share included.  For each target also: page faults
per run after warm-up; and what a run loses where it goes from the target to the host or back, on two threads: a chain
of products in turns on both, less half of the chain on either, over the number of changes.
"""

from __future__ import annotations

import argparse
import resource
import time
from statistics import median

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import byoc
from byoc.partitioner.single import composites_apart
from byoc.runtime import aligned_empty


def chain(length: int) -> onnx.ModelProto:
    """`length` ReLUs of four numbers, one after the other."""
    nodes = [helper.make_node("Relu", [f"v{i}"], [f"v{i + 1}"], name=f"relu{i}") for i in range(length)]
    info = helper.make_tensor_value_info
    ends = [info(name, TensorProto.FLOAT, [1, 4]) for name in ("v0", f"v{length}")]
    return helper.make_model(
        helper.make_graph(nodes, "chain", ends[:1], ends[1:]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )


def measure(target: str, length: int, runs: int) -> tuple[float, float]:
    """(seconds of a run, page faults of a run), the median and the mean of `runs`."""
    plan = byoc.partition(chain(length), [target])
    apart = composites_apart(plan, plan.model.graphs)
    partitions = len(apart.functions[0].partitions)
    if partitions != length:
        raise SystemExit(f"{target} has {partitions} partitions for {length} ops")
    x = aligned_empty((1, 4), "float32")
    x[...] = np.ones((1, 4), "float32")
    times = []
    with byoc.compile(apart, use_cache=False).session(1) as session:
        for _ in range(50):
            session.run({"v0": x})
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(runs):
            begin = time.perf_counter()
            session.run({"v0": x})
            times.append(time.perf_counter() - begin)
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    return median(times), faults / runs


PRODUCTS = 16
WIDTH = 384


def products() -> onnx.ModelProto:
    """Products of (128, 384) with (384, 384), one after the other: large enough for two threads."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((PRODUCTS, WIDTH, WIDTH)).astype("float32") / WIDTH**0.5
    nodes = [helper.make_node("MatMul", [f"v{i}", f"w{i}"], [f"v{i + 1}"], name=f"m{i}") for i in range(PRODUCTS)]
    info = helper.make_tensor_value_info
    ends = [info(name, TensorProto.FLOAT, [128, WIDTH]) for name in ("v0", f"v{PRODUCTS}")]
    initializers = [numpy_helper.from_array(w, f"w{i}") for i, w in enumerate(weights)]
    graph = helper.make_graph(nodes, "products", ends[:1], ends[1:], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def switch_seconds(target: str, runs: int) -> float:
    """Seconds for each change between the target and the host."""
    model = products()
    x = aligned_empty((128, WIDTH), "float32")
    x[...] = np.random.default_rng(1).standard_normal(x.shape)

    def seconds(targets: list[str], on_host: range) -> float:
        plan = byoc.partition(model, targets, pins=[f"m{i}=host" for i in on_host])
        times = []
        with byoc.compile(plan, use_cache=False).session(2) as session:
            for number in range(20 + runs):
                begin = time.perf_counter()
                session.run({"v0": x})
                if number >= 20:
                    times.append(time.perf_counter() - begin)
        return median(times)

    alone = (seconds([target], range(0)) + seconds([], range(0))) / 2
    return (seconds([target], range(1, PRODUCTS, 2)) - alone) / (PRODUCTS - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=lambda text: text.split(","), default=["csource"])
    parser.add_argument("--calls", type=int, default=1000, help="runs of each model")
    arguments = parser.parse_args()
    for target in arguments.targets:
        (short, _), (long, faults) = measure(target, 2, arguments.calls), measure(target, 22, arguments.calls)
        call, run = (long - short) / 20, short - 2 * (long - short) / 20
        switch = switch_seconds(target, arguments.calls)
        print(
            f"{target}: {call * 1e6:.2f} us a call, {run * 1e6:.1f} us a run, {faults:.2f} page faults a run, "
            f"{switch * 1e6:.1f} us a change to the host or back"
        )


if __name__ == "__main__":
    main()
