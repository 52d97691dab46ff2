"""dnnl: artifacts, whole models, threads."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tvm
from byoc_codegens.dnnl import library
from tvm import relax

import byoc
from benchmarks.zoo.memory import counting_library
from byoc.errors import UnknownTargetError
from tests.codegens.dnnl_ops import needs_onednn
from tests.codegens.ops import random_array, relax_function
from tests.host.modules import dag, run_on_host
from tests.models import light_model


@needs_onednn
def test_an_artifact_runs_in_a_fresh_process_with_any_number_of_threads(tmp_path: Path) -> None:
    module = dag([("relu", [-1]), ("exp", [0]), ("sin", [1]), ("add", [2, -2]), ("tanh", [3])], [4, 0], n=5)
    artifact = byoc.compile(module, ["dnnl"], use_cache=False)
    assert [p.target for p in artifact.manifest.partitions] == ["dnnl", "dnnl"]
    x, y = random_array((5, 8)), random_array((5, 8), seed=1)
    wanted = run_on_host(module, "main", x, y)
    artifact.save(tmp_path / "m.byoc")
    np.savez(tmp_path / "in.npz", x=x, y=y)
    program = (
        "import byoc, numpy as np; i = dict(np.load('in.npz'));"
        "[np.savez(f'out{t}.npz', **byoc.load('m.byoc', threads=t).run(i)) for t in (1, 2, 3)]"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    for threads in (1, 2, 3):
        got = np.load(tmp_path / f"out{threads}.npz")
        for name, want in zip(got.files, wanted, strict=True):
            np.testing.assert_allclose(got[name], want, rtol=1e-5, atol=1e-6)


@needs_onednn
def test_the_child_of_a_fork_runs_what_its_parent_ran(tmp_path: Path) -> None:
    function = relax_function(
        lambda x: relax.op.nn.conv2d(x, relax.const(random_array((16, 8, 3, 3)), "float32"), padding=1),
        ((1, 8, 24, 24), "float32"),
    )
    byoc.compile(tvm.IRModule({"main": function}), ["dnnl"], use_cache=False).save(tmp_path / "m.byoc")
    program = (
        "import byoc, numpy as np, os, signal\n"
        "session = byoc.load('m.byoc', threads=2)\n"
        "name, x = session.entry_functions[0].inputs[0].name, np.ones((1, 8, 24, 24), 'float32')\n"
        "run = lambda s: next(iter(s.run({name: x}).values()))\n"
        "before = run(session)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    signal.alarm(20)\n"
        "    same = [np.array_equal(run(s), before) for s in (session, byoc.load('m.byoc', threads=2))]\n"
        "    os._exit(0 if all(same) else 1)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert np.array_equal(run(session), before)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=120)


@needs_onednn
def test_a_light_model_is_one_partition_and_agrees_with_onnxruntime() -> None:
    model = light_model("squeezenet").SerializeToString()
    plan = byoc.partition(model, ["dnnl"])
    assert len(plan.functions[0].partitions) == 1
    session = byoc.compile(plan, use_cache=False).session()
    x = random_array((1, 3, 224, 224))
    name = session.entry_functions[0].inputs[0].name
    ours = next(iter(session.run({name: x}).values()))
    theirs = onnxruntime.InferenceSession(model).run(None, {name: x})[0]
    assert np.abs(ours - theirs).max() / np.abs(theirs).max() < 1e-4


ROOT = Path(__file__).parents[2]
COUNT = """
import byoc, numpy as np
from benchmarks.zoo.memory import MemoryUse, allocations_by_library
from byoc.runtime import aligned_copy
session = byoc.load("m.byoc", threads=2)
inputs = {"%s": aligned_copy(np.load("x.npy"))}
for _ in range(3): session.run(inputs)
before = MemoryUse.now().faults
for _ in range(5): session.run(inputs)
print(MemoryUse.now().faults - before)
found = allocations_by_library(lambda: session.run(inputs))
print(found["library.so"], found["libdnnl.so.3"] > 0)
"""


@needs_onednn
def test_in_a_run_the_artifact_allocates_nothing_itself_and_faults_no_page(tmp_path: Path) -> None:
    artifact = byoc.compile(light_model("squeezenet").SerializeToString(), ["dnnl"], use_cache=False)
    artifact.save(tmp_path / "m.byoc")
    np.save(tmp_path / "x.npy", random_array((1, 3, 224, 224)))
    program = COUNT % artifact.manifest.entry_functions[0].inputs[0].name
    environment = {**os.environ, "LD_PRELOAD": str(counting_library(tmp_path)), "PYTHONPATH": str(ROOT)}
    environment["BYOC_DNNL_KEEP_THREADS"] = "1"  # a crowded machine would make another schedule
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == ["0", "0", "True"]


@needs_onednn
def test_the_same_model_gives_the_same_source() -> None:
    function = relax_function(lambda x: relax.op.nn.relu(relax.op.nn.softmax(x, -1)), ((2, 3), "float32"))
    module = relax_module(function)
    first, second = (byoc.compile(module, ["dnnl"], use_cache=False).sources for _ in range(2))
    assert first == second and '"softmax\\"' in next(iter(first.values()))


def relax_module(function: relax.Function) -> object:
    import tvm

    return tvm.IRModule({"main": function.with_attr("global_symbol", "main")})


def test_without_onednn_the_target_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DNNLROOT", raising=False)
    monkeypatch.setattr(library.sys, "prefix", str(tmp_path))
    with pytest.raises(UnknownTargetError, match=r"pip install 'byoc\[dnnl\]'"):
        byoc.partition(dag([("relu", [-1])], [0]), ["dnnl"])


@needs_onednn
def test_a_closed_session_frees_its_library(tmp_path: Path) -> None:
    def mapped() -> int:
        return sum("library.so" in line for line in Path("/proc/self/maps").read_text().splitlines())

    function = relax_function(lambda x: relax.op.nn.relu(relax.op.nn.softmax(x, -1)), ((2, 3), "float32"))
    byoc.compile(relax_module(function), ["dnnl"], use_cache=False).save(tmp_path / "m.byoc")
    gc.collect()
    before = mapped()
    for _ in range(2):
        with byoc.load(tmp_path / "m.byoc") as session:
            session.run({session.entry_functions[0].inputs[0].name: random_array((2, 3))})
    gc.collect()
    assert mapped() == before


@needs_onednn
def test_a_process_that_was_suspended_goes_on_after_its_session_was_closed(tmp_path: Path) -> None:
    """OpenMP's threads outlive the library and wait; a signal wakes them, and they need their code then."""
    function = relax_function(lambda x: relax.op.nn.relu(relax.op.nn.softmax(x, -1)), ((512, 512), "float32"))
    byoc.compile(relax_module(function), ["dnnl"], use_cache=False).save(tmp_path / "m.byoc")
    program = (
        "import byoc, gc, numpy as np; s = byoc.load('m.byoc', threads=2);"
        "s.run({s.entry_functions[0].inputs[0].name: np.zeros((512, 512), 'float32')});"
        "s.close(); del s; gc.collect(); print('closed', flush=True); input(); print('went on')"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=tmp_path, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == "closed\n"
        time.sleep(0.1)  # until the threads sleep
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.1)
        assert process.communicate("\n")[0] == "went on\n"
    assert process.returncode == 0
