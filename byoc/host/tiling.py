"""Choose register tiles: how many rows and how many vectors of columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from byoc.host.machine import Machine


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


def choose_tile(columns: int, rows: Any, machine: Machine, dtype: str, columnwise: bool = False) -> tuple[int, int]:
    """(rows in a tile, columns in a chunk) for a known number of columns."""
    lanes = machine.lanes(dtype)
    total = -(-columns // lanes)
    few_rows = isinstance(rows, int) and rows <= 2
    most = machine.registers // 4 if few_rows else max(2, machine.registers // 8)
    best = (float("inf"), 1, lanes)
    for vectors in range(min(most, total), 0, -1):
        tile = row_tile(rows, vectors, machine, columnwise)
        row_tiles = -(-rows // tile) if isinstance(rows, int) else 1 / tile
        full, rest = divmod(total, vectors)
        cost = row_tiles * (full * _step(tile, vectors, columnwise) + (_step(tile, rest, columnwise) if rest else 0))
        if cost < best[0] * 0.999:
            best = (cost, tile, vectors * lanes)
    return best[1], best[2]


def _step(rows: int, vectors: int, columnwise: bool) -> int:
    """Relative time of one step of the reduction: multiply-adds, loads, or the latency of too few sums."""
    multiplies = rows * vectors
    loads = multiplies + vectors if columnwise else rows + vectors
    return max(multiplies, loads, 8)
