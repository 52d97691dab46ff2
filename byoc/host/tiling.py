"""Choose register tiles: how many rows and how many vectors of columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from byoc.host.machine import Machine

# Weights of one column chunk that stay in the L2 cache next to the data, in bytes.
_CACHED_WEIGHTS = 384 * 1024
_PARALLEL_TASKS = 32


@dataclass(frozen=True)
class Blocking:
    """How a kernel's loops are cut; results differ at most in the order of their sums.

    Parameters
    ----------
    rows, columns: of a register tile; all tiles of a task have the same columns.
    tasks: parallel pieces that the work is cut into, about.
    cached_weights: bytes of weights of one tile's columns above which the reduction is done block by block.
    """

    rows: int
    columns: int
    tasks: int = _PARALLEL_TASKS
    cached_weights: int = _CACHED_WEIGHTS


@dataclass(frozen=True)
class Extents:
    """What a blocking is chosen for: rows (integer or symbolic), columns of one group, and the reduction's depth."""

    rows: Any
    columns: int
    depth: Any
    dtype: str
    columnwise: bool = False


@dataclass(frozen=True)
class Tile:
    """Rows of a tile, and the widths of the vectors that its columns consist of."""

    rows: int
    widths: tuple[int, ...]

    @property
    def columns(self) -> int:
        return sum(self.widths)

    @property
    def vectors(self) -> list[tuple[int, int, int]]:
        """(row, first column, width) of every vector."""
        starts = [sum(self.widths[:v]) for v in range(len(self.widths))]
        return [(r, s, w) for r in range(self.rows) for s, w in zip(starts, self.widths, strict=True)]


def widths_of(columns: int, lanes: int) -> tuple[int, ...]:
    """Vectors that make up so many columns."""
    return (lanes,) * (columns // lanes) + ((columns % lanes,) if columns % lanes else ())


def row_tile(rows: Any, vectors: int, machine: Machine, columnwise: bool) -> int:
    """The number of rows in a tile of `vectors` vectors that wastes the least on the last tile and on loads."""
    most = min(16, max(1, (machine.registers - (1 if columnwise else vectors) - 2) // vectors))
    if not isinstance(rows, int):
        return min(most, 8)
    if rows <= most:
        return max(1, rows)
    return min(range(most, 0, -1), key=lambda tile: -(-rows // tile) * _step(tile, vectors, columnwise))


def choose_blocking(extents: Extents, machine: Machine) -> Blocking:
    """What :func:`estimate` takes for the best."""
    lanes = machine.lanes(extents.dtype)
    few_rows = isinstance(extents.rows, int) and extents.rows <= 2
    most = machine.registers // 4 if few_rows else max(2, machine.registers // 8)
    best = (float("inf"), 1, 1)
    for vectors in range(min(most, -(-extents.columns // lanes)), 0, -1):
        tile = row_tile(extents.rows, vectors, machine, extents.columnwise)
        cost = estimate(tile, vectors, extents, machine)
        if cost < best[0] * 0.999:
            best = (cost, tile, vectors)
    return Blocking(best[1], best[2] * lanes)


def estimate(tile: int, vectors: int, extents: Extents, machine: Machine) -> float:
    """Relative time of tiles of so many rows and vectors of columns."""
    row_tiles = -(-extents.rows // tile) if isinstance(extents.rows, int) else 1 / tile
    full, rest = divmod(-(-extents.columns // machine.lanes(extents.dtype)), vectors)
    of_rest = _step(tile, rest, extents.columnwise) if rest else 0
    return row_tiles * (full * _step(tile, vectors, extents.columnwise) + of_rest)


def _step(rows: int, vectors: int, columnwise: bool) -> int:
    """Relative time of one step of the reduction: multiply-adds, loads, or the latency of too few sums."""
    multiplies = rows * vectors
    loads = multiplies + vectors if columnwise else rows + vectors
    return max(multiplies, loads, 8)
