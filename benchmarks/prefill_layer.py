"""A layer of a prefill by csource, 4-bit weights and inputs rounded to 8 bits, beside dnnl in 32, 16 and 8 bits.

    python -m benchmarks.prefill_layer [--rows 256] [--inputs 1024] [--outputs 2816] [--repeat 200]

Prints multiply-adds per second of each, medians of runs that take turns.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tvm import relax

import byoc
from byoc.llm.weights import round_to_nearest
from byoc.ops.linear import linear


def four_bits(rows: int, weight: np.ndarray) -> Callable[[], object]:
    """byoc.linear_w4 by csource."""
    packed = round_to_nearest(weight, 4, 32)
    x = relax.Var("x", relax.TensorType((rows, weight.shape[1]), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            parts = [relax.const(a) for a in (packed.packed, packed.scale, packed.zero)]
            result = builder.emit_output(builder.emit(linear(x, *parts, bits=4, group=32)))
        builder.emit_func_output(result)
    session = byoc.compile(builder.get(), ["csource"]).session()
    data = {"x": np.random.default_rng(1).standard_normal((rows, weight.shape[1]), np.float32)}
    return lambda: session.run(data)


def product(rows: int, weight: np.ndarray, kind: str) -> Callable[[], object]:
    """MatMul in float32 or bfloat16, or MatMulInteger, by dnnl."""
    integer = kind == "int8"
    constant = np.clip(np.rint(weight.T * 300), -127, 127).astype(np.int8) if integer else weight.T.copy()
    node = helper.make_node("MatMulInteger" if integer else "MatMul", ["x", "w"], ["y"])
    x_type, y_type = (TensorProto.UINT8, TensorProto.INT32) if integer else (TensorProto.FLOAT, TensorProto.FLOAT)
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node], kind, [info("x", x_type, [rows, weight.shape[1]])], [info("y", y_type, [rows, weight.shape[0]])],
        [numpy_helper.from_array(constant, "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = {"dnnl": {"precision": "bf16"}} if kind == "bfloat16" else {}
    plan = byoc.partition(onnx.ModelProto.FromString(model.SerializeToString()), ["dnnl"], options=options)
    owners = {op.owner for op in plan.functions[0].ops}
    session = byoc.compile(plan).session()
    random = np.random.default_rng(1)
    size = (rows, weight.shape[1])
    x = random.integers(0, 255, size).astype(np.uint8) if integer else random.standard_normal(size, np.float32)
    if owners != {"dnnl"}:
        print(f"{kind}: by {', '.join(sorted(owners))}")
    return lambda: session.run({"x": x})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rows", 256), ("inputs", 1024), ("outputs", 2816), ("repeat", 200)):
        parser.add_argument(f"--{name}", type=int, default=default)
    chosen = parser.parse_args()
    weight = np.random.default_rng(0).standard_normal((chosen.outputs, chosen.inputs), np.float32) / 32
    runs = {
        "csource, 4 bits": four_bits(chosen.rows, weight),
        "dnnl, float32": product(chosen.rows, weight, "float32"),
        "dnnl, bfloat16": product(chosen.rows, weight, "bfloat16"),
        "dnnl, int8": product(chosen.rows, weight, "int8"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(chosen.repeat):
        for name, run in runs.items():
            run()  # the other library's threads go to sleep
            begin = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - begin)
    for name, times in seconds.items():
        rate = chosen.rows * chosen.inputs * chosen.outputs / median(times)
        print(f"{name}: {median(times) * 1e3:.3f} ms, {rate / 1e9:.0f} G multiply-adds/s")


if __name__ == "__main__":
    main()
