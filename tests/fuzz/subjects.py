"""What is fed with damaged files: each takes sound files, damages one, and uses it as byoc's users would."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import random
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import byoc
from byoc.artifact import Manifest, open_artifact
from byoc.artifact.archive import Member, Seal, layout
from byoc.partitioner.measured import MeasuredCosts
from byoc.partitioner.plan import Plan
from tests.fuzz.mutations import damage_bytes, damage_json, damage_model
from tests.models import shared_models

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


@functools.lru_cache(maxsize=1)
def models() -> tuple[bytes, ...]:
    """Small sound models: some made here, and those of the shared folder of at most 6 KB that byoc takes."""
    found = [_convolutions(), _products(), _branch()]
    for path in shared_models():
        if path.stat().st_size <= 6000:
            try:
                byoc.partition(path, ["csource"])
            except byoc.ByocError:
                continue
            found.append(path.read_bytes())
    return tuple(found)


def _model(nodes: Sequence[Any], inputs: dict[str, list[int]], outputs: list[str], **weights: Any) -> bytes:
    given = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()]
    results = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
    constants = [numpy_helper.from_array(np.asarray(a), n) for n, a in weights.items()]
    graph = helper.make_graph(list(nodes), "g", given, results, constants)
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def _weights(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def _convolutions() -> bytes:
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w", "b"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["r"]),
        node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("GlobalAveragePool", ["p"], ["g"]),
        node("Flatten", ["g"], ["f"], axis=1),
        node("Gemm", ["f", "m", "n"], ["y"], transB=1),
    ]
    return _model(
        nodes, {"x": [1, 2, 8, 8]}, ["y"], w=_weights(4, 2, 3, 3), b=_weights(4), m=_weights(3, 4), n=_weights(3)
    )


def _products() -> bytes:
    node = helper.make_node
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("Reshape", ["a", "s"], ["b"]),
        node("Transpose", ["b"], ["c"], perm=[0, 2, 1]),
        node("Softmax", ["c"], ["d"], axis=-1),
        node("Slice", ["d", "begin", "end"], ["e"]),
        node("Concat", ["e", "e"], ["h"], axis=1),
        node("ReduceMean", ["h"], ["y"], axes=[1], keepdims=0),
    ]
    numbers = {"s": np.array([2, 3, -1]), "begin": np.array([0, 1]), "end": np.array([2, 3])}
    return _model(nodes, {"x": [2, 5]}, ["y"], w=_weights(5, 6), **numbers)


def _branch() -> bytes:
    node = helper.make_node

    def part(op: str) -> Any:
        result = helper.make_tensor_value_info(op, TensorProto.FLOAT, None)
        return helper.make_graph([node(op, ["x"], [op])], op, [], [result])

    nodes = [
        node("ReduceSum", ["x"], ["s"], keepdims=0),
        node("Greater", ["s", "zero"], ["c"]),
        node("If", ["c"], ["y"], then_branch=part("Exp"), else_branch=part("Neg")),
    ]
    return _model(nodes, {"x": [3]}, ["y"], zero=np.float32(0))


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


@functools.lru_cache(maxsize=1)
def artifact() -> bytes:
    from tests.handmade import offset_model

    return _saved(offset_model().save)


def _saved(save: Callable[[Path], None]) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder) / "file")
        return (Path(folder) / "file").read_bytes()


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


@functools.lru_cache(maxsize=1)
def plan_text() -> str:
    return byoc.partition(_convolutions(), ["csource"], pins=["op:MaxPool=host"]).to_json()


@functools.lru_cache(maxsize=1)
def prepared() -> Any:
    return byoc.partition(_convolutions(), ["csource"]).model


def replay_it(content: bytes, folder: Path) -> str:
    plan = byoc.partition(prepared(), plan=Plan.from_json(content.decode()))
    compiled = byoc.compile(plan, use_cache=False) if plan.to_json() != plan_text() else None
    if compiled is None:
        return ACCEPTED
    x = np.ones((1, 2, 8, 8), np.float32)
    wanted = _onnxruntime(_convolutions(), {"x": x})
    with compiled.session() as session:
        result = session.run({"x": x}, entry=session.entry_functions[0].name)
    return ACCEPTED if wanted is not None and _close(next(iter(result.values())), wanted["y"]) else DIFFERENT


def read_costs(content: bytes, folder: Path) -> str:
    costs = MeasuredCosts.from_json(content.decode())
    byoc.partition(prepared(), ["csource"], policy="cost", costs=costs)
    return ACCEPTED


@functools.lru_cache(maxsize=1)
def costs_text() -> str:
    from byoc.profile import measure_costs

    given = {"x": np.ones((1, 2, 8, 8), np.float32)}
    return measure_costs(_convolutions(), ["csource"], lambda _: given, runs=1).to_json()


@functools.lru_cache(maxsize=1)
def facts() -> Manifest:
    """The manifest of a language model with four-bit caches."""
    import tempfile

    from byoc.llm.model import language_model
    from byoc.llm.settings import Settings, parse_kv
    from tests.language_models import make_folder

    with tempfile.TemporaryDirectory() as folder:
        make_folder(Path(folder) / "tiny")
        model = language_model(Path(folder) / "tiny", Settings(kv=parse_kv("k4v4:g8", 2), context=64, chunk=8))
        return byoc.compile(model, use_cache=False).manifest


def cache() -> Any:
    from byoc.llm.cache_state import CacheState
    from byoc.runtime.state import State

    assert facts().language_model is not None
    return CacheState(State(facts().states, facts().model_digest), facts().language_model)


@functools.lru_cache(maxsize=1)
def state_file() -> bytes:
    full = cache()
    for name, array in full.state.arrays.items():
        array.reshape(-1).view(np.uint8)[:] = len(name)
    full.lengths[:] = 5
    return _saved(full.save)


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


@functools.lru_cache(maxsize=1)
def checkpoint() -> dict[str, bytes]:
    import tempfile

    from tests.language_models import make_folder

    with tempfile.TemporaryDirectory() as folder:
        make_folder(Path(folder) / "tiny")
        return {path.name: path.read_bytes() for path in sorted((Path(folder) / "tiny").iterdir())}


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
