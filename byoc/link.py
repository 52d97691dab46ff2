"""Link the host's executable and the partitions' objects into one shared library."""

from __future__ import annotations

import contextlib
import errno
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from byoc.errors import CompilerError, MissingSymbolError, ToolchainError
from byoc.host.pipeline import first_line
from byoc.lower.compile_c import find_compiler

# Every symbol is bound when the library is loaded: a missing one is then an error, not an abort in the middle of a run.
# Without a build id, and with fixed names, the same objects give the same bytes.
_LINK_FLAGS = ["-O2", "-Wl,-z,now", "-Wl,--build-id=none", "-Wl,--no-as-needed", "-s"]


def link(executable: Any, objects: Sequence[str], libraries: Sequence[str], folder: Path) -> bytes:
    """Content of the shared library.  Raises :class:`CompilerError` with the linker's first complaint."""
    path = folder / "model.so"
    workspace = folder / "host"
    workspace.mkdir(exist_ok=True)
    flags = [*_LINK_FLAGS, *(flag for library in libraries for flag in _flags_of(library))]
    try:
        executable.export_library(
            str(path), addons=list(objects), workspace_dir=str(workspace), options=flags, cc=find_compiler("c++")
        )
    except Exception as error:
        raise CompilerError("the artifact cannot be linked", linker_complaint(error)) from error
    return path.read_bytes()


def _flags_of(library: str) -> list[str]:
    """A shared library is asked for by its name, and looked for where it lies now before anywhere else."""
    if library.startswith("/") and ".so" in Path(library).name:
        folder = Path(library).parent
        return [f"-L{folder}", f"-l:{Path(library).name}", f"-Wl,-rpath,{folder}"]
    return [library if library.startswith(("-", "/")) else f"-l{library}"]


def linker_complaint(error: BaseException) -> str:
    """The line of a failed link that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [
        line
        for line in lines
        if "undefined reference" in line or "cannot find" in line or "multiple definition" in line
    ]
    return told[0] if told else first_line(error)


def check_symbols(library: bytes, promised: Sequence[tuple[str, str]]) -> None:
    """Raise :class:`MissingSymbolError` unless the library defines every (symbol, codegen) promised."""
    from byoc.runtime.native import load_library

    module = load_library(library)
    for symbol, codegen in promised:
        if not module.implements_function(symbol, query_imports=True):
            raise MissingSymbolError(
                f'codegen "{codegen}" promised the symbol {symbol} and does not define it',
                f"the library has no function __tvm_ffi_{symbol}",
                "define it with C linkage, with default visibility (BYOC_EXPORT in byoc.h)",
            )


@contextlib.contextmanager
def work_folder() -> Iterator[Path]:
    """A folder for generated files, removed when it goes out of use.

    Raises :class:`ToolchainError` where there is no room for it.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="byoc-") as name:
            yield Path(name)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
            raise
        raise ToolchainError(
            f"generated files cannot be written to {tempfile.gettempdir()}",
            error.strerror or str(error),
            "make room there, or set TMPDIR to a folder with room",
        ) from error
