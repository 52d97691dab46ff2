"""Every model at hand, compiled for csource with the host for the rest, beside ONNX Runtime.

    python -m tests.e2e.model_sweep [--only PART] [--json FILE]

Each model runs in a process of its own with a time limit; the table goes to standard output.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tests.models import LIGHT_MODELS, light_model, random_inputs, shared_folder, shared_models

SECONDS = 600


def names() -> list[str]:
    """Light models as ``light:NAME``, the others by their path below the shared folder."""
    root = shared_folder()
    files = [str(p.relative_to(root)) for p in shared_models()] if root else []
    return [f"light:{n}" for n in LIGHT_MODELS] + files


def model_source(name: str) -> Any:
    """What `byoc.partition` is given for a model of that name."""
    if name.startswith("light:"):
        return light_model(name.removeprefix("light:"))
    root = shared_folder()
    assert root is not None
    return root / name


def compare(name: str, targets: tuple[str, ...] = ("csource",)) -> dict[str, Any]:
    """One row: whether ONNX Runtime runs the model, whether byoc takes it, and how far the results are apart.

    ``error`` is the largest difference of an output relative to the largest magnitude in it.
    """
    import onnxruntime

    import byoc
    from byoc.lower.emit import RefusedPartition

    source = model_source(name)
    content = source.SerializeToString() if isinstance(source, onnx.ModelProto) else str(source)
    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        feeds = _feeds(session, source)
        expected = session.run(None, feeds)
    except Exception as error:
        return {"name": name, "status": "ONNX Runtime does not run it", "detail": str(error).splitlines()[0][:160]}
    begin = time.perf_counter()
    try:
        plan = byoc.partition(source, targets)
        with warnings.catch_warnings():
            warnings.simplefilter("error", RefusedPartition)
            artifact = byoc.compile(plan, use_cache=False)
    except byoc.ByocError as error:
        return {"name": name, "status": "refused", "detail": f"[{error.code}] {error.what}"}
    row = {"name": name, "seconds": round(time.perf_counter() - begin, 1), "summary": plan.summary()}
    coverage = plan.coverage()
    flops = sum(f for _, f in coverage.values())
    row["flops_offloaded"] = round(1 - coverage["host"][1] / flops, 4) if flops else None
    outputs = artifact.session().run(feeds)
    errors = [_difference(a, b) for a, b in zip(outputs.values(), expected, strict=True)]
    half = any(np.asarray(b).dtype == np.float16 for b in expected)
    row["error"] = max(errors, default=0.0)
    row["status"] = "matches" if row["error"] <= (1e-3 if half else 1e-4) else "DIFFERS"
    return row


def _feeds(session: Any, source: Any) -> dict[str, np.ndarray]:
    model = source if isinstance(source, onnx.ModelProto) else onnx.load(source)
    return {k: v for k, v in random_inputs(model).items() if k in {i.name for i in session.get_inputs()}}


def _difference(got: Any, expected: Any) -> float:
    got, expected = np.asarray(got), np.asarray(expected)
    if got.shape != expected.shape or got.dtype != expected.dtype:
        return float("inf")
    if expected.size == 0:
        return 0.0
    a, b = got.astype("float64"), expected.astype("float64")
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if same.all():
        return 0.0
    scale = np.abs(b[np.isfinite(b)]).max(initial=0.0) or 1.0
    difference = np.where(same, 0.0, np.abs(a - b))
    return float(np.nan_to_num(difference, nan=np.inf).max() / scale)


def in_own_process(name: str) -> dict[str, Any]:
    """`compare` guarded: a crash or a hang becomes a row too."""
    command = [sys.executable, "-m", "tests.e2e.model_sweep", "--one", name]
    root = Path(__file__).resolve().parents[2]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return {"name": name, "status": "HANGS", "detail": f"no result in {SECONDS} s"}
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"name": name, "status": "CRASHES", "detail": f"exit {done.returncode}: {last[:200]}"}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", help="one model in this process, as JSON")
    parser.add_argument("--only", default="", help="only names that contain this")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(compare(arguments.one)))
        return
    rows = []
    for name in names():
        if arguments.only in name:
            rows.append(in_own_process(name))
            row = rows[-1]
            detail = row.get("summary") or row.get("detail", "")
            error = f"{row['error']:.1e}" if "error" in row else ""
            print(f"{row['status']:30} {error:8} {row.get('seconds', ''):>6} {name:80} {detail}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
