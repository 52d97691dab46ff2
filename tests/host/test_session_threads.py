"""Many threads on one session, and how many threads a run uses."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import byoc
from byoc.artifact import Artifact
from byoc.errors import SessionError, UsageError
from byoc.runtime import Session
from byoc.runtime.threads import core_count
from tests.handmade import offset_model_reference
from tests.session_inputs import numbers


@pytest.fixture(scope="module")
def product() -> Artifact:
    """y = x times ones, on the host: a kernel with a parallel loop."""
    weight = numpy_helper.from_array(np.ones((256, 256), np.float32), "w")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [256, 256]) for name in "xy")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [weight])
    return byoc.compile(helper.make_model(graph, ir_version=8), use_cache=False)


def test_many_threads_may_call_one_session(session: Session) -> None:
    def work(seed: int) -> bool:
        x = numbers(1 + seed % 7, seed)
        wanted = offset_model_reference(x)
        return all(
            np.allclose(session.run({"x": x})["y"], wanted, rtol=1e-5, atol=1e-6)
            and session.run({"a": x[0, :3]}, entry="twice")["doubled"][0] == 2 * x[0, 0]
            for _ in range(50)
        )

    with ThreadPoolExecutor(12) as threads:
        assert all(threads.map(work, range(24)))


def test_machines_are_bounded_however_many_threads_call(session: Session) -> None:
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda seed: session.run({"x": numbers(2, seed)}), range(200)))
    assert 1 <= session._pool._made <= max(2, os.cpu_count() or 1)


def test_closing_waits_for_calls_and_stops_later_ones(saved: Path) -> None:
    session = byoc.load(saved)
    x = numbers(200)
    wanted = offset_model_reference(x)
    started = threading.Barrier(5)
    wrong: list[str] = []

    def work() -> None:
        started.wait()
        try:
            while True:
                if not np.allclose(session.run({"x": x})["y"], wanted, rtol=1e-5, atol=1e-6):
                    wrong.append("a wrong result")
        except SessionError as error:
            if "closed" not in str(error):
                wrong.append(str(error))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    started.wait()
    session.close()
    for worker in workers:
        worker.join(timeout=60)
    assert not any(worker.is_alive() for worker in workers)
    assert wrong == []


def test_a_run_uses_the_threads_it_was_told_until_the_session_is_closed(product: Artifact) -> None:
    x = np.ones((256, 256), np.float32)

    def workers(threads: int) -> int:
        before = len(os.listdir("/proc/self/task"))
        with product.session(threads) as session:
            session.run({"x": x})
            more = len(os.listdir("/proc/self/task")) - before
        assert len(os.listdir("/proc/self/task")) == before
        return more

    assert [workers(threads) for threads in (1, 2, 4)] == [0, 1, 3]


def test_a_forked_process_runs_a_session_of_its_parent(product: Artifact) -> None:
    x = np.ones((256, 256), np.float32)
    with product.session(threads=2) as session:
        session.run({"x": x})
        child = os.fork()
        if child == 0:
            os._exit(0 if session.run({"x": x})["y"][0, 0] == 256 else 1)
        assert os.waitpid(child, 0)[1] == 0


def test_runs_leave_the_calling_thread_on_all_its_processors(session: Session) -> None:
    before = os.sched_getaffinity(0)
    session.run({"x": numbers(2)})
    assert os.sched_getaffinity(0) == before


def test_the_number_of_threads_comes_from_the_argument_then_the_environment(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BYOC_NUM_THREADS", raising=False)
    with byoc.load(saved) as session:
        assert session.threads == core_count()
    monkeypatch.setenv("BYOC_NUM_THREADS", "3")
    with byoc.load(saved) as session, byoc.load(saved, threads=1) as single:
        assert (session.threads, single.threads) == (3, 1)


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", True])
def test_a_number_of_threads_that_is_none_is_refused(saved: Path, threads: Any) -> None:
    with pytest.raises(UsageError, match="no number of threads"):
        byoc.load(saved, threads=threads)


def test_nonsense_in_the_environment_is_refused_by_name(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BYOC_NUM_THREADS", "many")
    with pytest.raises(UsageError, match="BYOC_NUM_THREADS=many"):
        byoc.load(saved)


COMPILE = """
import os, numpy as np, onnx, byoc
from onnx import helper, numpy_helper
weight = numpy_helper.from_array(np.ones((64, 64), "float32"), "w")
nodes = [helper.make_node("MatMul", ["w", "w"], ["s"]), helper.make_node("MatMul", ["x", "s"], ["y"])]
values = [helper.make_tensor_value_info(n, 1, [64, 64]) for n in "xy"]
model = helper.make_model(helper.make_graph(nodes, "g", values[:1], values[1:], [weight]))
before = os.sched_getaffinity(0)
byoc.compile(model, use_cache=False)
assert os.sched_getaffinity(0) == before, "compiling bound the thread"
assert os.environ["TVM_BIND_THREADS"] == "0", "a kernel that folding a constant runs would bind it"
"""


def test_compiling_leaves_the_calling_thread_free_to_move() -> None:
    done = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
