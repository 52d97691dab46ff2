"""Call partitions with memory that shows what they do to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from byoc.artifact.dtypes import numpy_dtype
from byoc.runtime.tensors import numpy_from_tensor, tensor_from_numpy

_FENCE = 4096  # bytes before and after each tensor
_MARK = 0xA5
_GARBAGE = 0xFF  # NaN in every float, -1 or the largest number in integers


class Fenced:
    """A tensor whose memory lies between two fences."""

    def __init__(self, like: Any, content: np.ndarray | None) -> None:
        dtype = str(like.dtype)
        shape = tuple(int(d) for d in like.shape)
        nbytes = int(np.prod(shape, dtype=np.int64)) * numpy_dtype(dtype).itemsize
        room = np.full(nbytes + 2 * _FENCE + 64, _MARK, np.uint8)
        start = _FENCE + (-(room.ctypes.data + _FENCE) % 64)
        self.room, self.start, self.nbytes = room, start, nbytes
        inside = room[start : start + nbytes]
        inside[...] = _GARBAGE
        self.array = inside.view(numpy_dtype(dtype)).reshape(shape)
        if content is not None:
            self.array[...] = content
        self.before = inside.copy()
        self.tensor = tensor_from_numpy(self.array, dtype)

    def broken(self) -> str:
        """Which fence was written over."""
        if (self.room[: self.start] != _MARK).any():
            return "before its beginning"
        if (self.room[self.start + self.nbytes :] != _MARK).any():
            return "beyond its end"
        return ""

    def changed(self) -> bool:
        """Whether the content is another than at first."""
        return not np.array_equal(self.room[self.start : self.start + self.nbytes], self.before)


@dataclass(frozen=True)
class Partition:
    """How a partition is called: with so many inputs, a shape included, of which it updates some in place."""

    inputs: int
    updated: frozenset[int] = frozenset()


class FencedCalls:
    """An instrument that calls partitions on fenced memory in place of the VM's, and keeps what it finds.

    Outputs and workspace are filled with garbage first, so that what is not written, or read before it is written,
    shows as a wrong result.
    """

    def __init__(self, partitions: Mapping[str, Partition]) -> None:
        self.partitions = partitions
        self.findings: list[str] = []
        self.calls = 0

    def __call__(self, function: Any, symbol: str, before: bool, result: Any, *arguments: Any) -> int:
        symbol = str(symbol)
        if not before or symbol not in self.partitions:
            return 0
        self.calls += 1
        count, updated = self.partitions[symbol].inputs, self.partitions[symbol].updated
        fenced: list[Any] = []
        for number, argument in enumerate(arguments):
            if not hasattr(argument, "data_ptr"):
                fenced.append(argument)
                continue
            content = numpy_from_tensor(argument, str(argument.dtype)) if number < count else None
            fenced.append(Fenced(argument, content))
        function(*(f.tensor if isinstance(f, Fenced) else f for f in fenced))
        for number, item in enumerate(fenced):
            if not isinstance(item, Fenced):
                continue
            what = f"input {number}" if number < count else f"output or workspace {number - count}"
            if item.broken():
                self.findings.append(f"{symbol} writes {item.broken()} of {what} ({item.nbytes} bytes)")
            if number < count and number not in updated and item.changed():
                self.findings.append(f"{symbol} changes {what}")
            if number >= count or number in updated:
                view = numpy_from_tensor(arguments[number], str(arguments[number].dtype))
                view[...] = item.array
        return 1
