"""TVM's runtime library, and the libraries that artifacts bring."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from byoc.compat import check_versions
from byoc.errors import ArtifactError, ToolchainError

if TYPE_CHECKING:
    from tvm_ffi import Module

RUNTIME = "libtvm_runtime.so"
RUNTIME_EXTRA = "libtvm_runtime_extra.so"  # sort, top-k, non-maximum suppression and random numbers


@lru_cache(maxsize=1)
def load_runtime() -> None:
    """Make TVM's runtime present in this process, without its compiler (importing ``tvm`` would load that too).

    Raises :class:`ToolchainError` if the TVM wheels are absent or have another version than byoc needs.
    """
    check_versions()
    folder = library_folder()
    for name in (RUNTIME, RUNTIME_EXTRA):
        path = folder / name
        if name == RUNTIME_EXTRA and not path.exists():
            continue
        try:
            # Global: the libraries of artifacts and vendors look its symbols up without naming it.
            ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)
        except OSError as error:
            raise ToolchainError(
                f"TVM's runtime library {name} cannot be loaded", str(error), "install apache-tvm again"
            ) from None


def library_folder() -> Path:
    """Where the TVM wheel keeps its libraries."""
    import tvm_ffi  # noqa: F401 - loads libtvm_ffi, which the runtime needs

    tvm = sys.modules.get("tvm")
    origin = getattr(tvm, "__file__", None)
    if origin is None:
        spec = importlib.util.find_spec("tvm")
        origin = spec.origin if spec is not None else None
    if origin is None:
        raise ToolchainError("TVM is not installed", "the package apache-tvm is absent", "install byoc again with pip")
    return Path(origin).parent / "lib"


def load_library(content: bytes) -> Module:
    """Load a shared library that is kept in memory.

    It passes through a private file that is gone when this returns, so that every call gives a library of its own,
    with its own static variables.  Raises :class:`ArtifactError` if it cannot be loaded.
    """
    load_runtime()
    import tvm_ffi

    try:
        folder = tempfile.mkdtemp(prefix="byoc-")
    except OSError as error:
        raise ArtifactError(
            "the native library has no place to be unpacked to", str(error), "set TMPDIR to a writable folder"
        ) from None
    path = os.path.join(folder, "library.so")
    try:
        with open(path, "wb") as file:
            file.write(content)
        try:
            return tvm_ffi.load_module(path, keep_module_alive=False)
        except Exception as error:
            if not _load_from_environment(message_of(error)):
                raise
        return tvm_ffi.load_module(path, keep_module_alive=False)
    except Exception as error:
        raise _not_loadable(error, folder) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _load_from_environment(complaint: str) -> bool:
    """Load the shared library that the loader misses from this Python environment, if it is there.

    An artifact names the folder of the environment that it was compiled in; it may run, or come out of the cache, in
    another one.
    """
    missing = re.search(r"([^\s/]+): cannot open shared object file", complaint)
    if missing is None:
        return False
    for path in _places_of(missing.group(1)):
        try:
            ctypes.CDLL(path)
        except OSError:
            continue
        return True
    return False


def _places_of(library: str) -> Iterator[str]:
    """Where this environment may have it: its ``lib``, and the packages of codegens, none of which is imported."""
    yield os.path.join(sys.prefix, "lib", library)
    for entry in importlib.metadata.entry_points(group="byoc.codegens"):
        for file in (entry.dist.files if entry.dist is not None else None) or ():
            if file.name == library:
                yield str(file.locate())


def _not_loadable(error: Exception, folder: str) -> ArtifactError:
    why = message_of(error).replace(folder + os.sep, "")
    todo = "compile the model again"
    if "failed to map segment" in why or "Operation not permitted" in why or isinstance(error, OSError):
        todo = f"set TMPDIR to a folder with room that may hold programs; {os.path.dirname(folder)} was used"
    elif "cannot open shared object file" in why:
        todo = "install the library that is named, or add its folder to LD_LIBRARY_PATH"
    elif "undefined symbol" in why:
        todo = "the codegen's library is absent or has another version: install it, or compile the model again"
    elif "not registered" in why or "load_from_bytes" in why:
        todo = "install the codegen's runtime package, which knows how to load its part"
    return ArtifactError("the artifact's native library cannot be loaded", why, todo)


def message_of(error: BaseException) -> str:
    """What an error of TVM says, on one line and without the stack trace that may follow."""
    text = str(error).partition("\nStack trace")[0].partition("\nTraceback")[0]
    line = " ".join(text.split())
    return (line if len(line) <= 500 else line[:497] + "...") or type(error).__name__
