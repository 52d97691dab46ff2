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

import byoc
from byoc.lower.emit import RefusedPartition
from tests.e2e.reference_runs import Reference, run, stricter_references
from tests.models import LIGHT_MODELS, light_model, random_inputs, shared_folder, shared_models

SECONDS = 600
WHY_STRICTER = {
    "statistics in float64": "it adds a whole plane up in one float32, of which four digits are left",
    "all in float32": "it rounds every value in between to the eleven bits of a float16",
    "no graph optimisation": "it fuses and rounds otherwise than the nodes say",
    "each layer alone": "sums on the border of two steps fall on either side, and later layers multiply the step",
}


def names() -> list[str]:
    """Light models as ``light:NAME``, the others by their path below the shared folder."""
    root = shared_folder()
    files = [str(p.relative_to(root)) for p in shared_models()] if root else []
    return [f"light:{n}" for n in LIGHT_MODELS] + files


def model_source(name: str) -> onnx.ModelProto | Path:
    """What `byoc.partition` is given for a model of that name."""
    if name.startswith("light:"):
        return light_model(name.removeprefix("light:"))
    root = shared_folder()
    assert root is not None
    return root / name


def compare(name: str, targets: tuple[str, ...] = ("csource",)) -> dict[str, Any]:
    """One row: whether ONNX Runtime runs the model, whether byoc takes it, and how far the results are apart.

    ``error`` is the largest difference of an output relative to the largest magnitude in it; ``beside`` says which run
    of ONNX Runtime it is measured against.
    """
    source = model_source(name)
    try:
        model = source if isinstance(source, onnx.ModelProto) else onnx.load(source)
        feeds = _feeds(name, model)
        usual = Reference("ONNX Runtime", source, feeds, run(source, feeds))
    except Exception as error:
        return {"name": name, "status": "ONNX Runtime does not run it", "detail": str(error).splitlines()[0][:160]}
    begin = time.perf_counter()
    try:
        row = {"name": name, **_beside(usual, targets)}
        row["seconds"] = round(time.perf_counter() - begin, 1)
        if row["status"] == "DIFFERS":
            for reference in stricter_references(model, feeds):
                against = _beside(reference, targets)
                if against["status"] == "matches":
                    return {**row, **against, "usual_error": row["error"]}
        return row
    except byoc.ByocError as error:
        return {"name": name, "status": "refused", "detail": f"[{error.code}] {error.what}: {error.why}"}


def _beside(reference: Reference, targets: tuple[str, ...]) -> dict[str, Any]:
    plan = byoc.partition(reference.model, targets)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RefusedPartition)
        artifact = byoc.compile(plan, use_cache=False)
    flops = [count for _, count in plan.coverage().values()]
    outputs = artifact.session().run(reference.feeds)
    differ = [n for n in reference.steps if not _within_a_step(outputs[n], reference.outputs[n])]
    others = [n for n in reference.outputs if n not in reference.steps]
    error = max([_difference(outputs[n], reference.outputs[n]) for n in others], default=0.0)
    half = any(outputs[n].dtype == np.float16 for n in others)
    return {
        "status": "DIFFERS" if differ or error > (1e-3 if half else 1e-4) else "matches",
        "beside": reference.name,
        "error": error,
        "summary": plan.summary(),
        "flops_offloaded": round(1 - plan.coverage()["host"][1] / sum(flops), 4) if sum(flops) else None,
    }


def _within_a_step(got: np.ndarray, expected: np.ndarray) -> bool:
    """Quantised values that are equal but for one in ten thousand, which may be one step off."""
    distance = np.abs(got.astype(np.int64) - expected.astype(np.int64))
    return distance.max(initial=0) <= 1 and np.count_nonzero(distance) <= max(1, distance.size * 1e-4)


def _feeds(name: str, model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Random inputs; where some would contradict each other, what the model's maker meant."""
    feeds = random_inputs(model)
    if name.endswith("gpt2_past_mask_one_layer.onnx"):
        feeds["attention_mask"] = np.ones_like(feeds["attention_mask"])  # its fused kernel takes zeros and ones only
    if name.endswith("tiny-random-gpt2-fp16-cuda/past.onnx"):
        batch, tokens = feeds["input_ids"].shape
        feeds["attention_mask"] = np.ones((batch, feeds["past_0"].shape[3] + tokens), np.int32)
        feeds["attention_mask"][0, 0] = 0
    if name.endswith("reshape_fusion_input_is_graph_input.onnx"):
        feeds["AnotherInput"] = np.zeros((1, 1, 30), np.float32)  # the extent that the Reshape of 6,000 elements needs
    return feeds


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


def line(row: dict[str, Any]) -> str:
    """The row as a line of the table."""
    detail = row.get("summary") or row.get("detail", "")
    error = f"{row['error']:.1e}" if "error" in row else ""
    beside = "" if row.get("beside", "ONNX Runtime") == "ONNX Runtime" else f" ({row['beside']})"
    if "usual_error" in row:
        detail += f"; beside ONNX Runtime's usual run {row['usual_error']:.1e}: {WHY_STRICTER[row['beside']]}"
    return f"{row['status'] + beside:32} {error:8} {row.get('seconds', ''):>6} {row['name']:80} {detail}"


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
            print(line(row), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
