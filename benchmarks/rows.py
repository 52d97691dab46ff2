"""Softmax, normalisations and reductions on the host, beside ONNX Runtime: single ops, in turns.

    python -m benchmarks.rows [--threads 2]

Each has a process of its own (benchmarks/zoo).  Microseconds of the host and ONNX Runtime, medians; the median of the
ratios within rounds (above 1: the host is faster); the largest difference over the largest magnitude.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.zoo import models
from benchmarks.zoo.report import ratio
from benchmarks.zoo.rounds import Effort, measure
from benchmarks.zoo.spec import parse

OPS: dict[str, tuple[str, list[int], dict[str, object]]] = {
    "softmax": ("Softmax", [12, 384, 384], {"axis": -1}),
    "log_softmax": ("LogSoftmax", [128, 10000], {"axis": -1}),
    "layer_norm": ("LayerNormalization", [384, 768], {"axis": -1}),
    "rms_norm": ("RMSNormalization", [384, 768], {"axis": -1}),
    "instance_norm": ("InstanceNormalization", [1, 32, 360, 360], {}),
    "mean_of_rows": ("ReduceMean", [384, 768], {"axes": [1]}),
    "max_of_rows": ("ReduceMax", [384, 768], {"axes": [1]}),
    "mean_of_planes": ("ReduceMean", [1, 512, 28, 28], {"axes": [2, 3]}),
    "sum_of_columns": ("ReduceSum", [4096, 512], {"axes": [0]}),
    "sum_of_all": ("ReduceSum", [4096, 512], {"axes": [0, 1]}),
}


def single(name: str) -> onnx.ModelProto:
    """The op by itself, with random weights where it has any."""
    op, shape, attributes = OPS[name]
    attributes = dict(attributes)
    rng = np.random.default_rng(0)
    weights: dict[str, np.ndarray] = {}
    if op.endswith("Normalization"):
        width = shape[1] if op.startswith("Instance") else shape[-1]
        weights = {key: rng.standard_normal(width).astype("float32") for key in ("scale", "bias")}
        if op.startswith("RMS"):
            del weights["bias"]
    if "axes" in attributes:
        weights = {"axes": np.array(attributes.pop("axes"), "int64")}
    graph = helper.make_graph(
        [helper.make_node(op, ["x", *weights], ["y"], **attributes)],
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, key) for key, array in weights.items()],
    )
    opset = 23 if op.startswith("RMS") else 18
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--ops", type=lambda text: text.split(","), default=list(OPS))
    parser.add_argument("--folder", type=Path, default=Path("build/zoo"), help="where models and artifacts are kept")
    arguments = parser.parse_args()
    runners = [parse("onnxruntime"), parse("host")]
    print(f"{'':16}{'onnxruntime':>12}{'host':>9}{'ratio':>7}{'error':>9}")
    for name in arguments.ops:
        models.MODELS[name] = lambda batch, name=name: single(name)  # type: ignore[misc]
        effort = Effort(rounds=arguments.rounds, turn_ms=50.0)
        rival, host = measure(arguments.folder, name, runners, 1, arguments.threads, effort)
        if rival.median_ms is None or host.median_ms is None:
            print(f"{name:16} {rival.error} {host.error}", flush=True)
            continue
        times = f"{rival.median_ms * 1e3:12.0f}{host.median_ms * 1e3:9.0f}{ratio(host, rival) or 0:7.2f}"
        print(f"{name:16}{times}{host.relative_error:9.1e}", flush=True)


if __name__ == "__main__":
    main()
