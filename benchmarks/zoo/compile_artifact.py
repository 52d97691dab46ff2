"""Compile one model in a process of its own, so that a crash of a compiler is one line of the table.

python -m benchmarks.zoo.compile_artifact RUNNER MODEL.onnx OUT.byoc
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.zoo.spec import Runner, parse

ROOT = Path(__file__).parents[2]
LONGEST = 900.0  # seconds


def artifact_file(folder: Path, runner: Runner, model: Path, fresh: bool = False) -> tuple[Path, dict[str, Any]]:
    """The artifact of a model, compiled if `folder` has none by the present code, and what compiling it took.

    The record has ``compile_s``, ``summary``, ``estimate_ms``.  Raises :class:`RuntimeError` with the last words of a
    compiler that failed.
    """
    path = folder / f"{model.stem}.{runner.file_name}.{code_digest(runner)}.byoc"
    record = path.with_suffix(".json")
    if fresh or not record.exists() or not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "benchmarks.zoo.compile_artifact", runner.text, str(model), str(path)]
        try:
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"compiling takes more than {LONGEST:.0f} s") from None
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise RuntimeError(f"compiling: {lines[-1] if lines else f'exit code {done.returncode}'}")
        for old in folder.glob(f"{model.stem}.{runner.file_name}.*"):
            if old not in (path, record):
                old.unlink()
    return path, json.loads(record.read_text())


def code_digest(runner: Runner) -> str:
    """Of byoc and the runner's codegens: artifacts of older code are compiled anew."""
    entries = {entry.name: entry.value for entry in importlib.metadata.entry_points(group="byoc.codegens")}
    folders = [ROOT / "byoc"]
    for name in runner.targets:
        package, _, rest = entries.get(name, "").partition(".")
        if package == "byoc_codegens":
            folders.append(ROOT / "codegens" / rest.split(":")[0])
    digest = hashlib.sha256(runner.text.encode())
    for file in sorted(
        file for folder in folders for file in folder.rglob("*") if file.suffix in (".py", ".c", ".cc", ".h")
    ):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def estimate(plan: Any) -> float:
    """Seconds that the cost model expects of one run of every entry function."""
    from byoc.partitioner.cost import CostModel
    from byoc.partitioner.estimate import parts_of_plan, seconds_of_cut
    from byoc.partitioner.target import find_targets

    options = {use.name: dict(use.options) for use in plan.targets}
    targets = {target.name: target for target in find_targets(list(options), options)}
    model = CostModel(plan.settings.nominal_dim)
    graphs = [plan.model.graphs[function.name] for function in plan.functions]
    return sum(
        seconds_of_cut(graph, parts_of_plan(graph, function, targets), model)
        for graph, function in zip(graphs, plan.functions, strict=True)
    )


def main() -> None:
    text, model, out = sys.argv[1:]
    runner = parse(text)
    import byoc

    targets = [name for name in runner.targets if name != "host"]
    begin = time.perf_counter()
    plan = byoc.partition(model, targets, options=runner.options, policy=runner.policy)
    artifact = byoc.compile(plan, use_cache=False)
    seconds = time.perf_counter() - begin
    artifact.save(out)
    summary = byoc.Plan.from_json(artifact.plan_json).summary()
    partial = Path(out).with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps({"compile_s": seconds, "summary": summary, "estimate_ms": 1e3 * estimate(plan)}))
    os.replace(partial, Path(out).with_suffix(".json"))


if __name__ == "__main__":
    try:
        main()
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")
