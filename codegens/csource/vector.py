"""Vector width, tile size, and the packing of matrices that goes with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from byoc_codegens.csource.c_text import c_helper

from byoc import Match


@dataclass(frozen=True)
class Isa:
    """Sizes that fit a family of vector instructions.

    Attributes
    ----------
    lanes: floats in a vector.
    rows: rows of a register tile; a tile is two vectors wide.
    """

    name: str
    lanes: int
    rows: int

    @property
    def columns(self) -> int:
        """Columns of a register tile."""
        return 2 * self.lanes


ISAS = {
    "avx512": Isa("avx512", lanes=16, rows=8),
    "avx2": Isa("avx2", lanes=8, rows=6),
    "portable": Isa("portable", lanes=4, rows=6),
}


def isa_of(m: Match) -> Isa:
    """The instructions that option ``isa`` asks for; ``native`` is what this machine has."""
    wanted = str(m.options.get("isa", "native"))
    return ISAS[native_isa() if wanted == "native" else wanted]


@lru_cache(maxsize=1)
def native_isa() -> str:
    """The best of :data:`ISAS` that this machine runs."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        flags = set()
    if "avx512f" in flags:
        return "avx512"
    return "avx2" if {"avx2", "fma"} <= flags else "portable"


def add_tiles(m: Match) -> Isa:
    """Add the register tiles to the source of a match."""
    isa = isa_of(m)
    sizes = range(1, isa.rows + 1)
    m.helper(
        c_helper(
            "tile",
            lanes=isa.lanes,
            rows=isa.rows,
            tiles="\n".join(f"CSOURCE_TILE({r})" for r in sizes),
            names=", ".join(f"csource_tile_{r}" for r in sizes),
        )
    )
    return isa


def panels(rows: int, isa: Isa) -> Iterator[tuple[int, int]]:
    """(first row, end) of each panel of a left matrix: as few panels as can be, dealt evenly."""
    count = -(-rows // isa.rows)
    for i in range(count):
        yield (rows // count * i + min(i, rows % count), rows // count * (i + 1) + min(i + 1, rows % count))


def pack_rows(matrices: np.ndarray, isa: Isa) -> np.ndarray:
    """[batch][rows][depth] as panels of a left matrix, each [depth][rows of the panel]."""
    parts = [matrix[a:b].T.ravel() for matrix in matrices for a, b in panels(matrices.shape[1], isa)]
    return np.concatenate(parts) if parts else np.zeros(1, matrices.dtype)


def pack_columns(matrices: np.ndarray, isa: Isa) -> np.ndarray:
    """[batch][depth][columns] as panels of a right matrix, each [depth][columns of a tile], the last filled with 0."""
    batch, depth, columns = matrices.shape
    count = -(-columns // isa.columns)
    padded = np.zeros((batch, depth, count * isa.columns), matrices.dtype)
    padded[:, :, :columns] = matrices
    panels_first = padded.reshape(batch, depth, count, isa.columns).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(panels_first).reshape(-1) if padded.size else np.zeros(1, matrices.dtype)
