"""The official ONNX node tests, in ONNX Runtime and in byoc.

    python -m tests.e2e.node_tests [--only REGEX] [--part I/N] [--targets csource] [--jobs 2] [--json FILE]

Each test runs in a process of its own with a time limit.  Many tests give a shape, axes or a scale as an input of the
graph; byoc, which compiles, may ask for these at import.  It is then given them as constants, as real models have
them, and the row says so.
"""

from __future__ import annotations

import argparse
import collections
import json
import multiprocessing
import os
import re
import signal
import time
import warnings
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

import byoc
import byoc.onnx_backend as backend
from byoc.errors import ModelError, UsageError

SECONDS = 60
PASSES, CONSTANTS, REFUSED, WRONG, CRASHES, HANGS, FAILS = (
    "passes", "passes, inputs constant", "refused", "WRONG", "CRASHES", "HANGS", "FAILS",
)  # fmt: skip


def cases(only: str = "") -> list[Any]:
    """The tests whose name matches."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [case for case in load_model_tests(kind="node") if re.search(only, case.name)]


def examine(case: Any, targets: Sequence[str]) -> dict[str, Any]:
    """One row: what ONNX Runtime and byoc make of the test."""
    operators = sorted({f"{n.domain}:{n.op_type}".lstrip(":") for n in case.model.graph.node})
    row = {"name": case.name, "operators": operators, "onnxruntime": _in_onnxruntime(case)}
    try:
        row["byoc"], row["detail"] = _in_byoc(case, targets)
    except byoc.ByocError as error:
        row["byoc"] = REFUSED if isinstance(error, (ModelError, UsageError)) else FAILS
        row["detail"] = f"[{error.code}] {error.what}: {error.why}"
    except Exception as error:
        row["byoc"], row["detail"] = FAILS, f"{type(error).__name__}: {error}".replace("\n", " ")[-300:]
    return row


def _in_onnxruntime(case: Any) -> bool:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    try:
        content = case.model.SerializeToString()
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        for inputs, expected in case.data_sets:
            names = [value.name for value in session.get_inputs()]
            got = session.run(None, dict(zip(names, map(_plain, inputs), strict=False)))
            if _difference(case, got, expected):
                return False
    except Exception:
        return False
    return True


def _in_byoc(case: Any, targets: Sequence[str]) -> tuple[str, str]:
    status, first = PASSES, None
    model, used = case.model, None
    try:
        prepared = backend.prepare(model, targets=targets, use_cache=False)
    except byoc.ByocError as error:
        first = error
        model, used = _with_constants(case)
        if model is None:
            raise
        status = CONSTANTS
        prepared = backend.prepare(model, targets=targets, use_cache=False)
    for inputs, expected in case.data_sets:
        arrays = [_plain(x) for i, x in enumerate(inputs) if used is None or i in used]
        difference = _difference(case, prepared.run(arrays), expected)
        if difference:
            return WRONG, difference
    return status, str(first.why)[:120] if first else ""


# Of types so narrow that two correct results may be a rounding apart.
_STEPS = {"float16": 2.0**-10, "bfloat16": 2.0**-7}

# Positions of inputs that real models have as constants.
_DECIDING = {
    "Reshape": (1,), "Resize": (1, 2, 3), "Upsample": (1,), "Split": (1,), "SplitToSequence": (1,), "TopK": (1,),
    "Pad": (1, 2, 3), "OneHot": (1, 2), "CumSum": (1,), "CumProd": (1,), "Slice": (1, 2, 3, 4), "Squeeze": (1,),
    "Unsqueeze": (1,), "Tile": (1,), "Expand": (1,), "AffineGrid": (1,), "ConstantOfShape": (0,), "MaxUnpool": (2,),
    "Clip": (1, 2), "Range": (0, 1, 2), "Dropout": (1, 2), "NonMaxSuppression": (2, 3, 4), "Trilu": (1,),
    "QuantizeLinear": (1, 2), "DequantizeLinear": (1, 2), "CenterCropPad": (1,), "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "QLinearConv": (1, 2, 3, 4, 5, 6, 7), "Col2Im": (1, 2), "DFT": (1, 2), "STFT": (1, 3), "HannWindow": (0,),
    "HammingWindow": (0,), "BlackmanWindow": (0,), "MelWeightMatrix": (0, 1, 2, 3, 4), "Loop": (0, 1),
    "SequenceAt": (1,), "ConvInteger": (2, 3), "MatMulInteger": (2, 3), "ReverseSequence": (1,),
    "BatchNormalization": (1, 2, 3, 4),
}  # fmt: skip


def _with_constants(case: Any) -> tuple[onnx.ModelProto | None, set[int] | None]:
    """The model with deciding inputs made constants, and the positions of those that stay inputs."""
    if len(case.data_sets) != 1:
        return None, None
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    names = [value.name for value in model.graph.input]
    fixed = set()
    for node in model.graph.node:
        positions = (1,) if node.op_type.startswith("Reduce") else _DECIDING.get(node.op_type, ())
        fixed |= {node.input[p] for p in positions if p < len(node.input) and node.input[p] in names}
    if not fixed:
        return None, None
    values = dict(zip(names, case.data_sets[0][0], strict=False))
    for name in sorted(fixed):
        value = values[name]
        tensor = onnx.TensorProto()
        tensor.CopyFrom(value if isinstance(value, onnx.TensorProto) else numpy_helper.from_array(np.asarray(value)))
        tensor.name = name
        model.graph.initializer.append(tensor)
    kept = [value for value in model.graph.input if value.name not in fixed]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    return model, {i for i, name in enumerate(names) if name not in fixed}


def _plain(value: Any) -> Any:
    """An input or output as an array, or a list of these."""
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


def _difference(case: Any, got: Sequence[Any], expected: Sequence[Any]) -> str:
    """How the results differ from those expected; "" if they do not."""
    if len(got) < len(expected):
        return f"{len(got)} outputs in place of {len(expected)}"
    for index, (one, other) in enumerate(zip(got, expected, strict=False)):
        text = _one_difference(_plain(one), _plain(other), max(case.rtol, 1e-3), max(case.atol, 1e-5))
        if text:
            return f"output {index}: {text}"
    return ""


def _one_difference(got: Any, wanted: Any, rtol: float, atol: float) -> str:
    if wanted is None or got is None:
        return "" if wanted is got else "one is absent"
    if isinstance(wanted, list):
        if not isinstance(got, list) or len(got) != len(wanted):
            return f"a sequence of {len(wanted)} in place of {type(got).__name__}"
        return next(filter(None, (_one_difference(g, w, rtol, atol) for g, w in zip(got, wanted, strict=True))), "")
    got, wanted = np.asarray(got), np.asarray(wanted)
    if got.shape != wanted.shape:
        return f"shape {got.shape} in place of {wanted.shape}"
    if str(got.dtype) != str(wanted.dtype):
        return f"dtype {got.dtype} in place of {wanted.dtype}"
    if wanted.dtype.kind in "OSUb":
        return "" if np.array_equal(got, wanted) else "other values"
    step = 2 * _STEPS.get(str(wanted.dtype), 0.0)
    rtol, atol = max(rtol, step), max(atol, step)
    a, b = (x.astype(np.complex128 if x.dtype.kind == "c" else np.float64) for x in (got, wanted))
    if wanted.dtype.kind in "iu":
        return "" if np.array_equal(got, wanted) else f"{np.count_nonzero(got != wanted)} of {got.size} integers differ"
    if np.allclose(a, b, rtol=rtol, atol=atol, equal_nan=True):
        return ""
    with np.errstate(all="ignore"):
        return f"largest difference {np.nanmax(np.abs(a - b), initial=0.0):.3g}"


def run(chosen: Sequence[Any], targets: Sequence[str], jobs: int) -> Iterator[dict[str, Any]]:
    """The rows, as the tests end; a crash or a hang becomes a row too."""
    context = multiprocessing.get_context("fork")
    waiting, running = list(reversed(chosen)), {}
    while waiting or running:
        while waiting and len(running) < jobs:
            case = waiting.pop()
            reading, writing = context.Pipe(duplex=False)
            process = context.Process(target=_child, args=(case, targets, writing))
            process.start()
            writing.close()
            running[reading] = (case, process, time.monotonic() + SECONDS)
        nearest = min(deadline for _, _, deadline in running.values())
        for pipe in wait(list(running), timeout=max(0.0, nearest - time.monotonic())):
            yield _finished(pipe, *running.pop(pipe)[:2])
        for pipe in [p for p, (_, _, deadline) in running.items() if deadline <= time.monotonic()]:
            case, process, _ = running.pop(pipe)
            os.killpg(process.pid, signal.SIGKILL)
            process.join()
            yield {"name": case.name, "operators": [], "byoc": HANGS, "detail": f"no result in {SECONDS} s"}


def _child(case: Any, targets: Sequence[str], pipe: Connection) -> None:
    os.setsid()  # compilers that it starts are killed with it
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    warnings.simplefilter("ignore")
    pipe.send(examine(case, targets))
    pipe.close()
    os._exit(0)


def _finished(pipe: Any, case: Any, process: Any) -> dict[str, Any]:
    try:
        row = pipe.recv()
    except EOFError:
        row = None
    process.join()
    return row or {"name": case.name, "operators": [], "byoc": CRASHES, "detail": f"exit code {process.exitcode}"}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Counts, and of the tests that ONNX Runtime passes the share that byoc does."""
    both = [row for row in rows if row.get("onnxruntime")]
    counts = collections.Counter(row["byoc"] for row in rows)
    among = collections.Counter(row["byoc"] for row in both)
    lines = [f"{len(rows)} tests, ONNX Runtime passes {len(both)}"]
    for status in (PASSES, CONSTANTS, REFUSED, FAILS, WRONG, CRASHES, HANGS):
        lines.append(f"{status:28} {counts[status]:5}   of those that ONNX Runtime passes {among[status]:5}")
    passed = among[PASSES] + among[CONSTANTS]
    lines.append(f"{passed / max(1, len(both)):.1%} of what ONNX Runtime passes")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="only names that match this regular expression")
    parser.add_argument("--part", default="1/1", help="I/N: every Nth test, from the Ith on")
    parser.add_argument("--targets", default="", help="codegens, separated by commas; none: the host alone")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path, help="rows of earlier runs there are kept unless they are run again")
    arguments = parser.parse_args()
    at, of = map(int, arguments.part.split("/"))
    chosen = cases(arguments.only)[at - 1 :: of]
    rows = []
    for row in run(chosen, [t for t in arguments.targets.split(",") if t], arguments.jobs):
        rows.append(row)
        if row["byoc"] not in (PASSES, CONSTANTS) and (row.get("onnxruntime") or row["byoc"] != REFUSED):
            print(f"{row['byoc']:10} {row['name']:60} {row['detail']}", flush=True)
    if arguments.json:
        known = json.loads(arguments.json.read_text()) if arguments.json.exists() else []
        fresh = {row["name"] for row in rows}
        rows = [row for row in known if row["name"] not in fresh] + rows
        arguments.json.write_text(json.dumps(rows, indent=1))
    print(table(rows))


if __name__ == "__main__":
    main()
