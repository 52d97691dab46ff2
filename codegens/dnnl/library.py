"""oneDNN as pip installs it, and the runtime of this codegen compiled against it."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tvm_ffi

from byoc import ByocError, Cache

SONAME = "libdnnl.so.3"
INSTALL = "install it with: pip install 'byoc[dnnl]'"
RUNTIME = Path(__file__).resolve().parent / "runtime"
_FLAGS = ("-std=c++17", "-O1", "-fPIC", "-fvisibility=hidden", "-fno-gnu-unique", "-fopenmp", "-DNDEBUG")
# By the end of a source's name; nothing in these runs where the processor lacks the instructions.
_KERNEL_FLAGS = {
    "_avx512": ("-O3", "-mavx512f"),
    "_avx512_vbmi": ("-O3", "-mavx512f", "-mavx512bw", "-mavx512vbmi"),
    "_avx512_bf16": ("-O3", "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512bf16"),
}


def prefix() -> Path | None:
    """The folder with oneDNN's ``lib`` and ``include``: ``$DNNLROOT``, else this environment; None if there is none."""
    for candidate in (os.environ.get("DNNLROOT"), sys.prefix):
        if candidate and (Path(candidate) / "lib" / SONAME).exists():
            return Path(candidate)
    return None


def missing() -> str:
    """What is missing to compile for oneDNN, with what to do, or ``""``."""
    root = prefix()
    if root is None:
        return f"oneDNN ({SONAME}) is not installed; {INSTALL}"
    if not (root / "include" / "oneapi" / "dnnl" / "dnnl.hpp").exists():
        return f"oneDNN's headers are not installed; {INSTALL}"
    return ""


@functools.lru_cache(maxsize=1)
def version() -> str:
    """oneDNN's version, such as ``"3.2.0"``."""
    root = prefix()
    assert root is not None
    text = (root / "include" / "oneapi" / "dnnl" / "dnnl_version.h").read_text(encoding="utf-8")
    parts = dict(line.split()[1:3] for line in text.splitlines() if line.startswith("#define DNNL_VERSION_"))
    return ".".join(parts[f"DNNL_VERSION_{part}"] for part in ("MAJOR", "MINOR", "PATCH"))


def compiler() -> str:
    """The C++ compiler: ``$CXX``, else the usual names."""
    for name in (os.environ.get("CXX", ""), "c++", "g++", "clang++"):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise ByocError("no C++ compiler is installed", "none of c++, g++, clang++ is on PATH", "install g++")


def link_flags() -> tuple[str, ...]:
    """What an artifact is linked with: the compiled runtime, and oneDNN where it is installed now."""
    root = prefix()
    assert root is not None
    folder = root / "lib"
    return (*runtime_objects(), f"-L{folder}", f"-l:{SONAME}", f"-Wl,-rpath,{folder}")


@functools.lru_cache(maxsize=1)
def runtime_objects() -> tuple[str, ...]:
    """The compiled runtime; made at first use on a machine, then kept in the cache."""
    root = prefix()
    assert root is not None
    sources = sorted(RUNTIME.glob("*.cc"))
    command = [compiler(), "-c", *_FLAGS, *(f"-I{p}" for p in (root / "include", *tvm_ffi.libinfo.include_paths()))]
    digest = hashlib.sha256(version().encode())
    for file in sorted(RUNTIME.glob("*")):
        digest.update(file.name.encode() + file.read_bytes())
    shown = subprocess.run([compiler(), "--version"], capture_output=True, text=True, check=False).stdout
    key = Cache.key(digest.hexdigest(), " ".join((*command, str(_KERNEL_FLAGS))), shown, tvm_ffi.__version__)
    folder = Cache().engine_dir("dnnl", key)
    objects = [folder / f"{source.stem}.o" for source in sources]
    if not all(o.exists() for o in objects):
        _compile(command, sources, folder)
    return tuple(str(o) for o in objects)


def _compile(command: list[str], sources: list[Path], folder: Path) -> None:
    def one(source: Path) -> str:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            part = Path(scratch) / "part.o"
            flags = next((flags for end, flags in _KERNEL_FLAGS.items() if source.stem.endswith(end)), ())
            whole = [*command, *flags, source.name, "-o", str(part)]
            run = subprocess.run(whole, cwd=RUNTIME, capture_output=True, text=True, check=False)
            if run.returncode:
                lines = [line for line in run.stderr.splitlines() if "error" in line] or run.stderr.splitlines()
                return f"{source.name}: {lines[0].strip() if lines else 'no reason given'}"
            os.replace(part, folder / f"{source.stem}.o")
        return ""

    with ThreadPoolExecutor(max(1, len(os.sched_getaffinity(0)))) as pool:
        complaints = [c for c in pool.map(one, sources) if c]
    if complaints:
        cure = "is g++ 10 or newer installed?"
        raise ByocError("the runtime of codegen dnnl cannot be compiled", complaints[0], cure)
