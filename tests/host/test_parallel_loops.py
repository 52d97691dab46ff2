"""The threads that every library brings, driven from C, also under the thread and address sanitizers."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import tvm_ffi

from byoc.lower.compile_c import INCLUDE, find_compiler

SOURCE = Path(__file__).with_name("parallel_loops.c")
SANITIZERS = {"plain": [], "thread": ["-fsanitize=thread"], "address": ["-fsanitize=address,undefined"]}


@pytest.fixture(scope="module", params=SANITIZERS)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("loops") / request.param
    include = [f"-I{folder}" for folder in (INCLUDE, *tvm_ffi.libinfo.include_paths())]
    flags = ["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", *SANITIZERS[request.param]]
    subprocess.run([find_compiler(), *flags, *include, str(SOURCE), "-o", str(path)], check=True)
    return path


def run(program: Path, case: str, threads: int, **options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "BYOC_NUM_THREADS": str(threads), "TSAN_OPTIONS": "halt_on_error=1", **options}
    return subprocess.run([program, case], capture_output=True, text=True, env=environment, timeout=120, check=False)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("case", ["once", "callers", "nested", "pauses", "host"])
def test_loops_do_all_of_their_work_once(program: Path, case: str, threads: int) -> None:
    done = run(program, case, threads)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_the_child_of_a_fork_does_the_work_with_threads_of_its_own(program: Path) -> None:
    if program.name == "thread":
        pytest.skip("the thread sanitizer follows no fork of a process with threads")
    # The search for leaks looks for the parent's threads in the child, and complains.
    done = run(program, "fork", 3, ASAN_OPTIONS="detect_leaks=0")
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
