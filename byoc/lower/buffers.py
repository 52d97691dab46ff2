"""Where the tensors inside a partition live: one workspace, reused as soon as a tensor is dead."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

ALIGNMENT = 64


@dataclass(frozen=True)
class Request:
    """A tensor of `nbytes` (int or Dim) that lives from step `first` to step `last`, both included."""

    key: Hashable
    nbytes: Any
    first: int
    last: int


@dataclass(frozen=True)
class BufferPlan:
    """Offset of each request in the workspace, and the workspace's size.

    `static` maps a key to its byte offset.  `symbolic` holds (keys, nbytes) of the slots whose size is known only at
    run time; they follow the static part in this order, each aligned to 64 bytes.
    """

    static: dict[Hashable, int]
    static_bytes: int
    symbolic: tuple[tuple[tuple[Hashable, ...], Any], ...]

    @property
    def nbytes(self) -> Any:
        """Size of the whole workspace: an int, or a Dim where a slot is symbolic."""
        total: Any = self.static_bytes
        for _, nbytes in self.symbolic:
            total = nbytes + total + ALIGNMENT
        return total


def plan_buffers(requests: Sequence[Request]) -> BufferPlan:
    """Place requests so that those alive together never overlap.

    Static ones go largest first to the lowest offset that is free (greedy by size); symbolic ones share a slot only
    with others of the same size.
    """
    static = [r for r in requests if isinstance(r.nbytes, int)]
    order = sorted(range(len(static)), key=lambda i: (-static[i].nbytes, i))
    placed: list[tuple[int, int, Request]] = []
    for i in order:
        request = static[i]
        size = -(-max(request.nbytes, 1) // ALIGNMENT) * ALIGNMENT
        offset = 0
        for begin, end, other in sorted(placed, key=lambda p: p[:2]):
            if other.first > request.last or other.last < request.first:
                continue
            if begin - offset >= size:
                break
            offset = max(offset, end)
        placed.append((offset, offset + size, request))
    offsets = {request.key: begin for begin, _, request in placed}
    return BufferPlan(offsets, max((end for _, end, _ in placed), default=0), _symbolic_slots(requests))


def _symbolic_slots(requests: Sequence[Request]) -> tuple[tuple[tuple[Hashable, ...], Any], ...]:
    slots: list[tuple[list[Request], Any]] = []
    for request in requests:
        if isinstance(request.nbytes, int):
            continue
        for members, nbytes in slots:
            alive = any(m.first <= request.last and request.first <= m.last for m in members)
            if not alive and str(nbytes) == str(request.nbytes):
                members.append(request)
                break
        else:
            slots.append(([request], request.nbytes))
    return tuple((tuple(m.key for m in members), nbytes) for members, nbytes in slots)
