"""Run the C of an artifact's partitions under a sanitizer, on the arguments that a real run gave them."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tvm_ffi

from byoc.artifact import Artifact
from byoc.lower.compile_c import BASE_FLAGS, INCLUDE
from byoc.runtime import Session

HARNESS = Path(__file__).with_name("harness.cc")
_KINDS = {"int": 0, "uint": 1, "float": 2, "bfloat": 4, "bool": 6}


class Calls:
    """Calls of partitions, as bytes that the harness reads."""

    def __init__(self, artifact: Artifact) -> None:
        self.symbols = {part.symbol for part in artifact.manifest.partitions}
        self.calls: list[bytes] = []
        for part in artifact.manifest.partitions:
            if part.bind is not None:
                self.calls.append(_call(part.bind, [artifact.arrays[i] for i in part.constants]))

    def note(self, function: Any, symbol: str, before: bool, result: Any, *arguments: Any) -> None:
        """An instrument of a session."""
        name = symbol.removeprefix("__tvm_ffi_")
        if before and name in self.symbols:
            self.calls.append(_call(name, list(arguments)))

    def content(self) -> bytes:
        return struct.pack("<q", len(self.calls)) + b"".join(self.calls)


def record(artifact: Artifact, use: Callable[[Session], None]) -> bytes:
    """The calls that `use` makes of a session."""
    calls = Calls(artifact)
    with artifact.session(threads=2) as session:
        session.set_instrument(calls.note)
        use(session)
        session.set_instrument(None)
    return calls.content()


def _call(symbol: str, arguments: list[Any]) -> bytes:
    name = symbol.encode()
    parts = [struct.pack("<q", len(name)), name, struct.pack("<q", len(arguments)), *map(_argument, arguments)]
    return b"".join(parts)


def _argument(value: Any) -> bytes:
    if isinstance(value, tvm_ffi.Shape):
        return struct.pack(f"<{2 + len(value)}q", 1, len(value), *value)
    dtype, shape = str(value.dtype), tuple(int(d) for d in value.shape)
    array = value if isinstance(value, np.ndarray) else np.from_dlpack(value)
    data = np.ascontiguousarray(array).tobytes()
    kind = dtype.rstrip("0123456789")
    bits = int(dtype[len(kind) :] or 8)
    head = struct.pack(f"<{2 + len(shape)}q", 0, len(shape), *shape)
    return head + struct.pack("<3q", _KINDS[kind], bits, len(data)) + data


def build(artifact: Artifact, sanitizers: str, folder: Path) -> Path:
    """The program that has the partitions' C and the harness in it, built with ``-fsanitize=...``."""
    cc, cxx = shutil.which("cc"), shutil.which("c++")
    assert cc and cxx
    include = [f"-I{path}" for path in (INCLUDE, *tvm_ffi.libinfo.include_paths())]
    checks = ["-O1", "-g", f"-fsanitize={sanitizers}", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
    flags = [flag for flag in BASE_FLAGS if not flag.startswith("-O")]
    objects = []
    for name, code in artifact.sources.items():
        (folder / name).write_text(code)
        objects.append(str(folder / f"{name}.o"))
        _run(
            [cc, "-std=gnu11", "-march=native", *flags, *checks, *include, "-c", str(folder / name), "-o", objects[-1]]
        )
    program = folder / "harness"
    _run(
        [
            cxx,
            "-std=c++17",
            *checks,
            *include,
            str(HARNESS),
            *objects,
            "-rdynamic",
            "-pthread",
            "-ldl",
            "-o",
            str(program),
        ]
    )
    return program


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def complaint(program: Path, calls: bytes, folder: Path) -> str:
    """What the sanitizer says of these calls; empty if nothing."""
    (folder / "calls").write_bytes(calls)
    environment = {
        "TSAN_OPTIONS": "halt_on_error=1",
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    done = subprocess.run([program, folder / "calls"], capture_output=True, text=True, env=environment, timeout=300)
    return (
        ""
        if done.returncode == 0 and done.stdout == "done\n" and not done.stderr
        else done.stderr or str(done.returncode)
    )
