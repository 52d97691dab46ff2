"""The C++ example: the same artifact, loaded and run without Python."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tvm import relax

import byoc
from byoc.tensor_spec import TensorSpec
from tests.handmade import FACTOR, host_model, offset_model, offset_model_reference

REPOSITORY = Path(__file__).resolve().parent.parent.parent
EXAMPLE = REPOSITORY / "examples" / "cpp"
TYPES = ["bool", "int8", "int64", "uint16", "float16", "float64", "bfloat16", "float8_e4m3fn"]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for tool in ("g++", "make"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}")
    folder = tmp_path_factory.mktemp("cpp")
    command = ["make", "-C", str(EXAMPLE), f"OUT={folder}", f"PYTHON={sys.executable}", "CXXFLAGS=-O1 -Wall -Werror"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return folder / "run_model"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.byoc"
    offset_model().save(path)
    return path


def run(program: Path, *words: object, code: int = 0) -> str:
    """What the program prints, or says of an error; PATH and HOME are empty, so that nothing can help it."""
    result = subprocess.run([program, *map(str, words)], capture_output=True, text=True, env={}, timeout=120)
    assert result.returncode == code, result.stdout + result.stderr
    if code:
        assert result.stdout == "" and len(result.stderr.splitlines()) == 1, result.stderr
    return result.stdout if code == 0 else result.stderr


def test_it_computes_what_numpy_and_python_compute(program: Path, saved: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((7, 4), dtype=np.float32)
    np.save(tmp_path / "x.npy", x)
    said = run(program, saved, f"x={tmp_path / 'x.npy'}", "--output", tmp_path, "--threads", 2)
    assert said == "y: float32[7, 8]\n"
    y = np.load(tmp_path / "y.npy")
    np.testing.assert_allclose(y, offset_model_reference(x), rtol=1e-5, atol=1e-6)
    with byoc.load(saved) as session:
        np.testing.assert_array_equal(y, session.run({"x": x})["y"])


def test_no_python_is_linked(program: Path) -> None:
    needed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    assert "libtvm_runtime.so" in needed and "libtvm_ffi.so" in needed
    assert "libpython" not in needed and "libtvm_compiler" not in needed


def test_inputs_without_a_file_are_random(program: Path, saved: Path) -> None:
    assert run(program, saved) == "y: float32[1, 8]\n"
    assert run(program, saved, "--dim", "n=5") == "y: float32[5, 8]\n"
    assert run(program, saved, "--entry", "twice").splitlines() == [
        "doubled: float32[3]",
        "same: float32[3]",
        "offset: float32[8]",
    ]


@pytest.mark.parametrize("shape", [(3,), (0, 3), (2, 3), ()])
@pytest.mark.parametrize("dtype", TYPES)
def test_every_dtype_passes_through_npy_files(
    program: Path, typed: Path, tmp_path: Path, dtype: str, shape: tuple[int, ...]
) -> None:
    size = int(np.prod(shape))
    x = np.arange(1, size + 1).reshape(shape).astype(getattr(ml_dtypes, dtype, dtype))
    np.save(tmp_path / "x.npy", x)
    words = ["--entry", f"{dtype}_{len(shape)}", f"x={tmp_path / 'x.npy'}", "--output", tmp_path]
    run(program, typed, *words)
    y = np.load(tmp_path / "y.npy")
    assert y.shape == shape
    assert y.tobytes() == x.tobytes()


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """<dtype>_<rank>: x as it is, through a copy."""
    functions: dict[str, Any] = {}
    for dtype in TYPES:
        for rank in range(3):
            shape = ("n", 3)[-rank:] if rank else ()
            shape = ("n",) if rank == 1 else shape
            specs = ([TensorSpec("x", dtype, shape)], [TensorSpec("y", dtype, shape)])
            functions[f"{dtype}_{rank}"] = (*specs, lambda x: relax.op.concat([x], axis=0) if x.ty.ndim else x)
    path = tmp_path_factory.mktemp("typed") / "typed.byoc"
    host_model(functions).save(path)
    return path


def test_a_failing_partition_is_an_error_not_a_crash(program: Path, saved: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.full((1, 4), 1e9, np.float32))
    said = run(program, saved, f"x={tmp_path / 'x.npy'}", code=1)
    assert said == 'run_model: the run of "main" failed: the accelerator refuses so small a number\n'


@pytest.mark.parametrize(
    ("array", "what"),
    [
        (np.zeros((2, 4)), 'holds "<f8", float32 ("<f4") is expected'),
        (np.zeros((2, 4), ">f4"), 'holds ">f4", float32 ("<f4") is expected'),
        (np.zeros((2, 4), np.int32), 'holds "<i4"'),
        (np.zeros((4, 2), np.float32).T, "is not in C order"),
        (np.zeros((2, 3), np.float32), "has size 3 in dimension 1, 4 is expected"),
        (np.zeros(4, np.float32), "has 1 dimensions, 2 are expected"),
    ],
)
def test_wrong_inputs_are_refused(program: Path, saved: Path, tmp_path: Path, array: Any, what: str) -> None:
    np.save(tmp_path / "x.npy", array)
    assert what in run(program, saved, f"x={tmp_path / 'x.npy'}", code=1)


def test_damaged_inputs_are_refused(program: Path, saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((2, 4), np.float32))
    whole = path.read_bytes()
    for length in (0, 5, 9, 40, len(whole) - 1):
        path.write_bytes(whole[:length])
        said = run(program, saved, f"x={path}", code=1)
        assert "is truncated" in said or "is not a .npy file" in said
    assert "cannot be opened" in run(program, saved, f"x={tmp_path / 'absent.npy'}", code=1)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--entry", "decode"], 'there is no entry function "decode"; there are: main twice'),
        (["z=z.npy"], '"main" has no input "z"'),
        (["--nonsense", "1"], "there is no option --nonsense"),
        (["--threads"], "--threads needs a value"),
        (["--dim", "n"], '"n" is not of the form NAME=VALUE'),
        (["--threads", "two"], '"two" is not a number'),
        (["--output", "/absent/folder"], "cannot be written"),
    ],
)
def test_wrong_words_are_refused(program: Path, saved: Path, words: list[str], what: str) -> None:
    result = subprocess.run([program, saved, *words], capture_output=True, text=True, env={}, timeout=120)
    assert result.returncode == 1 and what in result.stderr


def test_damaged_artifacts_are_refused_by_name(program: Path, saved: Path, tmp_path: Path) -> None:
    data = saved.read_bytes()
    path = tmp_path / "damaged.byoc"
    for content, member in [(b"{", "manifest.json"), (b"\x7fELF", "library.so"), (FACTOR.tobytes(), "weights.bin")]:
        place = data.index(content, 4096)
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        said = run(program, path, code=1)
        assert f'"{member}"' in said and "damaged" in said
    with zipfile.ZipFile(saved) as archive:
        plan = archive.read("plan.json")
    place = data.index(plan)
    path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    assert '"plan.json"' in run(program, path, code=1)


def test_truncated_extended_and_other_files_are_refused(program: Path, saved: Path, tmp_path: Path) -> None:
    data = saved.read_bytes()
    path = tmp_path / "model.byoc"
    others = [data[:length] for length in (0, 1, 100, 4096, 5000, len(data) // 2, len(data) - 1)]
    for content in [*others, data + b"\0", b"\0" + data, data + data, bytes(20000)]:
        path.write_bytes(content)
        said = run(program, path, code=1)
        assert "model.byoc" in said
    assert "cannot be opened" in run(program, tmp_path / "absent.byoc", code=1)
    assert "no plain file" in run(program, tmp_path, code=1)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"tvm_version": "0.26.0"}, "compiled with apache-tvm 0.26.0"),
        ({"tvm_ffi_version": "0.1.15"}, "compiled with apache-tvm-ffi 0.1.15"),
        ({"architecture": "riscv128"}, "is for riscv128 processors"),
        ({"cpu_features": ("sse2", "quantum9000")}, "needs a processor with quantum9000"),
    ],
)
def test_what_cannot_run_here_is_refused(program: Path, tmp_path: Path, change: dict[str, Any], what: str) -> None:
    model = offset_model()
    path = tmp_path / "other.byoc"
    replace(model, manifest=replace(model.manifest, **change)).save(path)
    assert what in run(program, path, code=1)


HASHES = """
#include <byoc_sha256.h>
#include <cstdio>
int main() {
  std::string text;
  for (int i = 0; i < 300; ++i) {
    std::puts(byoc::Sha256(text.data(), text.size()).c_str());
    text += static_cast<char>(i * 7);
  }
}
"""


def test_its_sha256_is_sha256_at_every_length(tmp_path: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    (tmp_path / "hashes.cc").write_text(HASHES)
    include = REPOSITORY / "byoc" / "include"
    command = ["g++", "-std=c++11", "-Wall", "-Werror", f"-I{include}", "hashes.cc", "-o", "hashes"]
    subprocess.run(command, cwd=tmp_path, check=True)
    lines = subprocess.run([tmp_path / "hashes"], capture_output=True, text=True, check=True).stdout.split()
    content = bytes(i * 7 % 256 for i in range(300))
    assert lines == [hashlib.sha256(content[:length]).hexdigest() for length in range(300)]


def test_it_loads_a_signed_language_models_artifact(program: Path, tmp_path: Path) -> None:
    original = offset_model()
    facts = replace(original.manifest, language_model={"context": 8})
    artifact = replace(original, manifest=facts, tokenizer=b"{}")
    key = tmp_path / "key.pem"
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key.write_bytes(Ed25519PrivateKey.generate().private_bytes(pem, form, serialization.NoEncryption()))
    artifact.save(tmp_path / "m.byoc", sign_key=key)
    np.save(tmp_path / "x.npy", np.ones((2, 4), np.float32))
    assert run(program, tmp_path / "m.byoc", f"x={tmp_path / 'x.npy'}") == "y: float32[2, 8]\n"


def test_a_manifest_that_does_not_describe_its_library_is_refused(program: Path, tmp_path: Path) -> None:
    original = offset_model()
    main, *others = original.manifest.entry_functions
    larger = replace(main, inputs=(TensorSpec("x", "float32", ("n", 400)),))
    replace(original, manifest=replace(original.manifest, entry_functions=(larger, *others))).save(tmp_path / "m.byoc")
    np.save(tmp_path / "x.npy", np.ones((2, 400), np.float32))
    said = run(program, tmp_path / "m.byoc", f"x={tmp_path / 'x.npy'}", code=1)
    assert "the artifact's manifest does not describe its library" in said
