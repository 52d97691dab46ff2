"""Which partition a failed run failed in, and what it said."""

from __future__ import annotations

import functools
import math
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from byoc.artifact.manifest import EntryFunction, Manifest
from byoc.errors import SessionError
from byoc.runtime.native import message_of
from byoc.text_table import bytes_text

if TYPE_CHECKING:
    from tvm_ffi import Tensor

    from byoc.runtime.machines import Machine

_STORAGE = "vm.builtin.alloc_storage"
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


@dataclass(frozen=True)
class FailedCall:
    """A function in which a run failed; `storage` is how many bytes it was to allocate, if that is what it does."""

    symbol: str
    storage: int | None = None


def failed_call(machine: Machine, entry: str, arguments: list[Tensor]) -> FailedCall | None:
    """The innermost call that fails when the run is made again; None if it does not fail again."""
    running: list[FailedCall] = []

    def follow(function: Any, symbol: str, before: bool, result: Any, *rest: Any) -> int:
        if before:
            running.append(FailedCall(str(symbol), _bytes_asked(rest) if symbol == _STORAGE else None))
        else:
            running.pop()
        return 0

    try:
        machine.set_instrument(follow)
        machine.function(entry)(*arguments)
    except Exception:
        return running[-1] if running else None
    return None


def _bytes_asked(arguments: Sequence[Any]) -> int:
    """Of a call for storage: the virtual machine, the shape, which is in bytes, and where it is to lie."""
    return math.prod(int(extent) for extent in arguments[1])


def session_error(
    manifest: Manifest, entry: EntryFunction, failed: FailedCall | None, error: Exception
) -> SessionError:
    """The error to raise for a run in which a call failed."""
    symbol = failed.symbol if failed is not None else None
    if failed is not None and failed.storage is not None:
        return SessionError(
            f'the run of "{entry.name}" failed for want of memory',
            f"{bytes_text(failed.storage)} for results on their way are more than the system gives",
            "give smaller inputs, or run where there is more memory",
        )
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
        said = f"sizes that follow from those of the inputs do not fit: {_difference(int(unequal[1]), int(unequal[2]))}"
    where = f' in the host function "{symbol}"' if symbol and not unequal else ""
    return SessionError(f'the run of "{entry.name}" failed{where}', said, "check the sizes of the inputs given")


def _difference(held: int, wanted: int) -> str:
    """What `match_shape` says; reshapes have it compare a surplus of elements with 0 (`byoc/host/checks.py`)."""
    if wanted:
        return f"{held} where {wanted} is wanted"
    return f"{abs(held)} {'element' if abs(held) == 1 else 'elements'} too {'many' if held > 0 else 'few'}"
