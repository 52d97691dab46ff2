"""Machines that fail while byoc works: killed processes, full disks, compilers that are missing or refuse."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import byoc
from byoc.errors import ArtifactError

CLI = [sys.executable, "-m", "byoc"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """y = relu(x @ w) @ v, x float32[2, 8]."""
    generator = np.random.default_rng(0)
    weights = {"w": (8, 16), "v": (16, 4)}
    nodes = [("MatMul", ["x", "w"], "a"), ("Relu", ["a"], "b"), ("MatMul", ["b", "v"], "y")]
    graph = helper.make_graph(
        [helper.make_node(op, inputs, [out], name=out) for op, inputs, out in nodes],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4])],
        [numpy_helper.from_array(generator.standard_normal(s).astype(np.float32), n) for n, s in weights.items()],
    )
    path = tmp_path_factory.mktemp("model") / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def call(*words: object, code: int = 0, **environment: str) -> str:
    """What the command says on stderr, which must not be a traceback; `environment` is added to this process's."""
    command = [*CLI, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def compile_command(model: Path, output: Path, cache: Path) -> list[str]:
    return [*CLI, "compile", str(model), "--target", "csource", "-o", str(output), "--cache-dir", str(cache)]


def run(artifact: Path) -> np.ndarray:
    with byoc.load(artifact) as session:
        return session.run({"x": np.ones((2, 8), np.float32)})["y"]


def killed_after(seconds: float, command: Sequence[str]) -> None:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("kills", [pytest.param(2, id="twice"), pytest.param(25, id="often", marks=pytest.mark.slow)])
def test_a_killed_compilation_leaves_no_half_artifact_and_no_bad_cache(model: Path, tmp_path: Path, kills: int) -> None:
    output, cache = tmp_path / "m.byoc", tmp_path / "cache"
    start = time.monotonic()
    assert subprocess.run(compile_command(model, tmp_path / "whole.byoc", tmp_path / "other")).returncode == 0
    whole = time.monotonic() - start
    for i in range(kills):
        killed_after(whole * (0.4 + 0.6 * (i + 1) / kills), compile_command(model, output, cache))
        if output.exists():
            np.testing.assert_array_equal(run(output), run(tmp_path / "whole.byoc"))
            output.unlink()
    assert subprocess.run(compile_command(model, output, cache)).returncode == 0
    assert output.read_bytes() == (tmp_path / "whole.byoc").read_bytes()


def test_two_processes_that_compile_into_one_cache_get_the_same_artifact(model: Path, tmp_path: Path) -> None:
    outputs = [tmp_path / "a.byoc", tmp_path / "b.byoc"]
    both = [subprocess.Popen(compile_command(model, output, tmp_path / "cache")) for output in outputs]
    assert [process.wait(300) for process in both] == [0, 0]
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    assert len(list((tmp_path / "cache").rglob("*-model.byoc"))) == 1


@pytest.fixture
def full_disk(tmp_path: Path) -> list[str]:
    """Words to put before a command, which then finds a disk of 16 KB at ``tmp_path / "disk"``."""
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f'mount -t tmpfs -o size=16k full {disk} && exec "$@"'
    words = ["unshare", "-rm", "sh", "-c", script, "sh"]
    if shutil.which("unshare") is None or subprocess.run([*words, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    return words


@pytest.mark.parametrize("where", ["output", "temporary files", "cache"])
def test_a_full_disk_is_named_and_leaves_nothing(model: Path, tmp_path: Path, full_disk: list[str], where: str) -> None:
    disk = tmp_path / "disk"
    output = (disk if where == "output" else tmp_path) / "m.byoc"
    cache = disk if where == "cache" else tmp_path / "cache"
    environment = {**os.environ, "TMPDIR": str(disk)} if where == "temporary files" else dict(os.environ)
    command = ["sh", "-c", f'"$@"; code=$?; ls -A {output.parent} >&2; exit $code', "sh"]
    command = [*full_disk, *command, *compile_command(model, output, cache)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    told = {
        "output": f'[BYOC-600] "{output}" cannot be written\n  why: No space left on device',
        "temporary files": f"[BYOC-500] generated files cannot be written to {disk}\n  why: No space left on device",
        "cache": f"warning: the cache {disk} cannot be used (No space left on device); nothing is kept",
    }
    assert done.stderr.startswith(told[where]), done.stderr
    assert done.returncode == {"output": 7, "temporary files": 6, "cache": 0}[where]
    left = done.stderr.splitlines()
    assert ("m.byoc" in left) == (where == "cache") and not any(name.endswith(".part") for name in left)


def test_a_cache_that_cannot_be_written_costs_a_warning(model: Path, tmp_path: Path) -> None:
    told = call("compile", model, "--target", "csource", "-o", tmp_path / "m.byoc", "--cache-dir", "/proc/byoc")
    assert told.startswith("warning: the cache /proc/byoc cannot be used (")
    assert run(tmp_path / "m.byoc").shape == (2, 4)


def test_a_missing_compiler_is_named_with_its_cure(model: Path, tmp_path: Path) -> None:
    told = call(
        "compile", model, "--target", "csource", "-o", tmp_path / "m.byoc", "--no-cache", code=6, PATH="", CC=""
    )
    assert told.startswith("[BYOC-500] no C compiler is installed")
    assert "apt-get install build-essential" in told
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def failing_compiler(tmp_path: Path) -> Path:
    """A C compiler that refuses the first partition's file, and only that."""
    path = tmp_path / "cc"
    path.write_text(
        "#!/bin/sh\n"
        'case "$*" in *" csource_main_0.c "*) echo "internal compiler error: in the first" >&2; exit 4;; esac\n'
        f'exec {shutil.which("cc")} "$@"\n'
    )
    path.chmod(0o755)
    return path


def test_a_compiler_that_fails_on_one_partition_splits_it(model: Path, tmp_path: Path, failing_compiler: Path) -> None:
    words = ["compile", model, "--target", "csource", "-o", tmp_path / "m.byoc", "--no-cache"]
    told = call(*words, CC=str(failing_compiler))
    assert 'warning: codegen "csource" refused partition csource_main_0' in told
    assert "internal compiler error: in the first" in told
    assert run(tmp_path / "m.byoc").shape == (2, 4)
    (tmp_path / "m.byoc").unlink()
    told = call(*words, "--on-fail", "abort", code=4, CC=str(failing_compiler))
    assert "internal compiler error: in the first" in told
    assert not (tmp_path / "m.byoc").exists()


PLUGIN = """
from byoc import Codegen, op, register_codegen

@register_codegen("needy", version="1.0")
class Needy(Codegen):
    patterns = {"relu": op("nn.relu")("x")}
    libraries = ["%s"]
    def emit_match(self, m):
        return f"extern void twice(const float*, float*, int); twice({m['x']}, {m.out}, 32);"
"""


def test_a_library_that_went_missing_is_named(model: Path, tmp_path: Path) -> None:
    library = tmp_path / "libneedy_device.so"
    code = "void twice(const float *a, float *b, int n) { for (int i = 0; i < n; ++i) b[i] = 2 * a[i]; }"
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)], input=code, text=True, check=True)
    (tmp_path / "needy.py").write_text(PLUGIN % library)
    artifact = tmp_path / "m.byoc"
    call("compile", model, "--plugin", tmp_path / "needy.py", "--target", "needy", "-o", artifact, "--no-cache")
    assert run(artifact).shape == (2, 4)
    library.unlink()
    with pytest.raises(ArtifactError) as caught:
        byoc.load(artifact)
    assert "libneedy_device.so" in caught.value.why
    assert caught.value.todo == "install the library that is named, or add its folder to LD_LIBRARY_PATH"
