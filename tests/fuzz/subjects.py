"""What is fed with damaged files: each takes sound files, damages one, and uses it as byoc's users would."""

from __future__ import annotations

import hashlib
import io
import json
import random
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import byoc
from byoc.artifact import open_artifact
from byoc.artifact.archive import Member, Seal, layout
from byoc.partitioner.measured import MeasuredCosts
from byoc.partitioner.plan import Plan
from tests.fuzz.mutations import damage_bytes, damage_json, damage_model
from tests.fuzz.sound_files import (
    artifact,
    cache,
    checkpoint,
    convolutions,
    costs_text,
    models,
    plan_text,
    prepared,
    state_file,
)

ACCEPTED, REFUSED, DIFFERENT = "accepted", "refused", "different"


@dataclass(frozen=True)
class Subject:
    """`damage` makes the content of a file; `use` takes its path and answers ACCEPTED or DIFFERENT, or raises."""

    damage: Callable[[random.Random], bytes]
    use: Callable[[bytes, Path], str]


def outcome(name: str, number: int, seed: int, folder: Path) -> tuple[str, bytes]:
    """What came of one damaged file, and the file.  What is no :class:`byoc.errors.ByocError` is raised."""
    subject = SUBJECTS[name]
    content = subject.damage(random.Random(f"{name} {seed} {number}"))
    try:
        return subject.use(content, folder), content
    except byoc.ByocError as error:
        if not error.what or "Traceback" in str(error) or "Stack trace" in str(error):
            raise AssertionError(f"an error that does not speak to a person: {error}") from error
        return REFUSED, content


def damaged_model(chance: random.Random) -> bytes:
    return damage_bytes(chance.choice(models()), chance)


def damaged_graph(chance: random.Random) -> bytes:
    return damage_model(chance.choice(models()), chance)


def plan_it(content: bytes, folder: Path) -> str:
    plan = byoc.partition(content, ["csource"])
    return ACCEPTED if Plan.from_json(plan.to_json()).to_json() == plan.to_json() else DIFFERENT


def run_it(content: bytes, folder: Path) -> str:
    """Compile what ONNX Runtime runs, and compare."""
    from byoc.cli.run import make_inputs

    plan = byoc.partition(content, ["csource"])
    with byoc.compile(plan, use_cache=False).session() as session:
        (function,) = session.entry_functions
        arrays = make_inputs(function, (), (), 0)
        wanted = _onnxruntime(content, arrays)
        if wanted is None:
            return ACCEPTED
        results = session.run(arrays)
    return ACCEPTED if all(_close(results[n], w) for n, w in wanted.items()) else DIFFERENT


def _onnxruntime(content: bytes, arrays: dict[str, Any]) -> dict[str, Any] | None:
    """Its results, or None where it does not run the model or is no judge of it (no deterministic numbers)."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        reference = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        given = {i.name for i in reference.get_inputs()}
        names = [o.name for o in reference.get_outputs()]
        return dict(zip(names, reference.run(names, {n: a for n, a in arrays.items() if n in given}), strict=True))
    except Exception:
        return None


def _close(result: Any, wanted: Any) -> bool:
    if wanted.dtype.kind not in "fc":
        return np.array_equal(result, wanted)
    scale = np.max(np.abs(wanted), initial=0, where=np.isfinite(wanted)) + 1e-6
    return np.allclose(result, wanted, rtol=1e-3, atol=1e-3 * scale, equal_nan=True)


def open_it(content: bytes, folder: Path) -> str:
    (folder / "m.byoc").write_bytes(content)
    open_artifact(folder / "m.byoc")
    return ACCEPTED if content == artifact() else DIFFERENT


def damaged_manifest(chance: random.Random) -> bytes:
    """A damaged manifest with all checksums made to fit."""
    with zipfile.ZipFile(io.BytesIO(artifact())) as archive:
        contents = [(name, archive.read(name)) for name in archive.namelist()]
    text = damage_json(contents[0][1].decode(), chance).encode()
    contents[0] = ("manifest.json", text)
    form = layout([Member(n, len(d), zlib.crc32(d)) for n, d in contents], Seal(hashlib.sha256(text).hexdigest()))
    return b"".join(h + d for h, (_, d) in zip(form.headers, contents, strict=True)) + form.tail


X = np.arange(8, dtype=np.float32).reshape(2, 4)


def load_it(content: bytes, folder: Path) -> str:
    from tests.handmade import offset_model_reference

    (folder / "m.byoc").write_bytes(content)
    with byoc.load(folder / "m.byoc") as session:
        result = session.run({"x": X}, entry="main")
    return ACCEPTED if np.allclose(result["y"], offset_model_reference(X)) else DIFFERENT


def replay_it(content: bytes, folder: Path) -> str:
    plan = byoc.partition(prepared(), plan=Plan.from_json(content.decode()))
    compiled = byoc.compile(plan, use_cache=False) if plan.to_json() != plan_text() else None
    if compiled is None:
        return ACCEPTED
    x = np.ones((1, 2, 8, 8), np.float32)
    wanted = _onnxruntime(convolutions(), {"x": x})
    with compiled.session() as session:
        result = session.run({"x": x}, entry=session.entry_functions[0].name)
    return ACCEPTED if wanted is not None and _close(next(iter(result.values())), wanted["y"]) else DIFFERENT


def read_costs(content: bytes, folder: Path) -> str:
    costs = MeasuredCosts.from_json(content.decode())
    byoc.partition(prepared(), ["csource"], policy="cost", costs=costs)
    return ACCEPTED


def damaged_state(chance: random.Random) -> bytes:
    if chance.random() < 0.5:
        return damage_bytes(state_file(), chance)
    # An array's header, with the checksums of the zip made to fit.
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(state_file())) as source,
        zipfile.ZipFile(buffer, "w", chance.choice((0, 8))) as file,
    ):
        chosen = chance.choice(source.namelist())
        for name in source.namelist():
            data = source.read(name)
            file.writestr(name, damage_bytes(data[:128], chance) + data[128:] if name == chosen else data)
    return buffer.getvalue()


def restore_it(content: bytes, folder: Path) -> str:
    (folder / "state.npz").write_bytes(content)
    restored = cache()
    before = {name: array.copy() for name, array in restored.state.arrays.items()}
    try:
        restored.restore(folder / "state.npz")
    except byoc.ByocError:
        kept = all(np.array_equal(before[n].view(np.uint8), a.view(np.uint8)) for n, a in restored.state.arrays.items())
        if not kept or restored.lengths.any():
            return DIFFERENT
        raise
    return ACCEPTED


def damaged_checkpoint(chance: random.Random) -> bytes:
    files = dict(checkpoint())
    name = chance.choice(sorted(files))
    if name.endswith(".json") and chance.random() < 0.7:
        files[name] = damage_json(files[name].decode(), chance).encode()
    else:
        head = 600 if chance.random() < 0.7 else len(files[name])
        files[name] = damage_bytes(files[name][:head], chance) + files[name][head:]
    return json.dumps({name: data.hex() for name, data in files.items()}).encode()


def read_checkpoint(content: bytes, folder: Path) -> str:
    for name, data in json.loads(content).items():
        (folder / name).write_bytes(bytes.fromhex(data))
    byoc.partition(folder, ["csource"])
    return ACCEPTED


SUBJECTS = {
    "model bytes": Subject(damaged_model, plan_it),
    "model graphs": Subject(damaged_graph, plan_it),
    "model runs": Subject(damaged_graph, run_it),
    "artifact": Subject(lambda chance: damage_bytes(artifact(), chance), open_it),
    "manifest": Subject(damaged_manifest, load_it),
    "plan": Subject(lambda chance: damage_json(plan_text(), chance).encode(), replay_it),
    "costs": Subject(lambda chance: damage_json(costs_text(), chance).encode(), read_costs),
    "state": Subject(damaged_state, restore_it),
    "checkpoint": Subject(damaged_checkpoint, read_checkpoint),
}
