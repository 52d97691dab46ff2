"""Which blocking to measure next: first those that look best, then the neighbours of the best one found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from byoc.host.machine import Machine
from byoc.host.tiling import Blocking, Extents, choose_blocking, estimate

_TASKS = (2, 4, 8, 16, 32, 64)
_CACHED_WEIGHTS = (128 * 1024, 384 * 1024, 1024 * 1024)
_MOST_ROWS = 16


def propose(extents: Extents, machine: Machine, known: Mapping[Blocking, float], budget: int) -> Blocking | None:
    """The next blocking to measure, given the seconds of those that were; None when none is left.

    Half of the `budget` goes to the tiles that the estimate ranks highest, the rest climbs from the best one (hill
    climbing on the measured times).  The answer depends on the arguments alone, so that a search goes on where an
    earlier one ended.
    """
    ranked = list(_tiles(extents, machine))
    for blocking in ranked[: max(1, budget // 2)]:
        if blocking not in known:
            return blocking
    climbed = min(known, key=lambda b: known[b])
    for blocking in (*_neighbours(climbed, extents, machine), *ranked):
        if blocking not in known:
            return blocking
    return None


def _tiles(extents: Extents, machine: Machine) -> Iterator[Blocking]:
    """The default, then all tiles that fit the registers, by their estimated time."""
    default = choose_blocking(extents, machine)
    yield default
    lanes = machine.lanes(extents.dtype)
    total = -(-extents.columns // lanes)
    fitting = [
        (estimate(rows, vectors, extents, machine), rows, vectors)
        for vectors in range(1, min(total, machine.registers // 2) + 1)
        for rows in range(1, min(extents.rows, _MOST_ROWS) + 1)
        if _fits(rows, vectors, extents, machine)
    ]
    for _, rows, vectors in sorted(fitting, key=lambda tile: (tile[0], -tile[1], tile[2])):
        if (rows, vectors * lanes) != (default.rows, default.columns):
            yield replace(default, rows=rows, columns=vectors * lanes)


def _fits(rows: int, vectors: int, extents: Extents, machine: Machine) -> bool:
    """Sums, one row of weights (or one vector of a depthwise convolution) and one element of the data in registers."""
    return rows * vectors + (1 if extents.columnwise else vectors) + 1 <= machine.registers


def _neighbours(blocking: Blocking, extents: Extents, machine: Machine) -> Iterator[Blocking]:
    lanes = machine.lanes(extents.dtype)
    for tasks in _TASKS:
        yield replace(blocking, tasks=tasks)
    if not extents.columnwise and extents.depth * blocking.columns * 4 > min(_CACHED_WEIGHTS):
        for size in _CACHED_WEIGHTS:
            yield replace(blocking, cached_weights=size)
    for rows, columns in ((1, 0), (-1, 0), (0, lanes), (0, -lanes)):
        tile = blocking.rows + rows, blocking.columns + columns
        inside = 1 <= tile[0] <= min(extents.rows, _MOST_ROWS) and lanes <= tile[1] < extents.columns + lanes
        if inside and _fits(tile[0], tile[1] // lanes, extents, machine):
            yield replace(blocking, rows=tile[0], columns=tile[1])
