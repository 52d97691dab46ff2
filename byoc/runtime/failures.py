"""Which partition a failed run failed in, and what it said."""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from byoc.artifact.manifest import EntryFunction, Manifest
from byoc.errors import SessionError
from byoc.runtime.native import message_of

if TYPE_CHECKING:
    from tvm_ffi import Tensor

    from byoc.runtime.machines import Machine

_UNEQUAL = re.compile(r"\((-?\d+) vs\. (-?\d+)\)")


class PythonFailures:
    """Prototype functions that note which of them raised, per calling thread."""

    def __init__(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        self._local = threading.local()
        self.functions = {symbol: self._noting(symbol, function) for symbol, function in functions.items()}

    def _noting(self, symbol: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any) -> Any:
            try:
                return function(*arguments)
            except Exception as error:
                self._local.failure = (symbol, error)
                raise

        return call

    def last(self) -> tuple[str | None, Exception | None]:
        """The symbol and error noted in this thread since the last question."""
        symbol, error = getattr(self._local, "failure", (None, None))
        self._local.failure = (None, None)
        return symbol, error


def failed_symbol(machine: Machine, entry: str, arguments: list[Tensor]) -> str | None:
    """The function that fails when the call is made again; None if it does not fail again."""
    running: list[str] = []

    def follow(function: Any, symbol: str, before: bool, result: Any, *rest: Any) -> int:
        if before:
            running.append(str(symbol))
        else:
            running.pop()
        return 0

    try:
        machine.set_instrument(follow)
        machine.function(entry)(*arguments)
    except Exception:
        return running[-1] if running else None
    return None


def session_error(manifest: Manifest, entry: EntryFunction, symbol: str | None, error: Exception) -> SessionError:
    """The error to raise for a run in which ``symbol`` failed."""
    partition = next((part for part in manifest.partitions if part.symbol == symbol), None)
    said = message_of(error)
    if partition is not None:
        return SessionError(
            f'the run of "{entry.name}" failed in partition "{partition.symbol}"',
            f"{partition.target} says: {said}",
            f"check the sizes of the inputs; if they are right, the fault is in the codegen {partition.target}",
        )
    unequal = _UNEQUAL.search(said) if symbol == "vm.builtin.match_shape" else None
    if unequal:
        said = f"sizes that follow from those of the inputs do not fit: {unequal[1]} where {unequal[2]} is wanted"
    where = f' in the host function "{symbol}"' if symbol and not unequal else ""
    return SessionError(f'the run of "{entry.name}" failed{where}', said, "check the sizes of the inputs given")
