"""Products of bytes, four to a 32-bit lane: sizes of a tile, packing of weights, requantisation."""

from __future__ import annotations

from typing import Any

import numpy as np
from byoc_codegens.csource.c_text import c_helper
from byoc_codegens.csource.vector import isa_of

from byoc import Match

# Rows of a tile, by lanes of a vector: a tile is two vectors wide and keeps its sums in registers.
_ROWS = {16: 8, 8: 4, 4: 2}
NARROW = frozenset({"int8", "uint8"})


def add_dot4(m: Match) -> tuple[int, int]:
    """Add the vectors to the source of a match; returns (rows, columns) of a tile."""
    lanes = isa_of(m).lanes
    m.helper(c_helper("dot4", lanes=lanes, rows=_ROWS[lanes]))
    return _ROWS[lanes], 2 * lanes


def requantise(m: Match) -> str:
    """The C initialiser of a match's requantisation."""
    m.helper(c_helper("requantise"))
    attrs = m.root.attrs
    arrays = [m.constant(np.array(attrs[name], "int32"), name) for name in ("multiplier", "shift")]
    return f"{{{', '.join(arrays)}, {attrs['y_zero']}, {attrs['low']}, {attrs['high']}}}"


def is_narrow(m: Match) -> bool:
    """Whether data, weights and result all have 8 bits."""
    return all(v.dtype in NARROW for v in (*m.root.inputs[:2], m.out))


def unsigned_zero(m: Match) -> tuple[int, int]:
    """(what turns the data's bytes into unsigned ones by exclusive or, their zero point after that)."""
    flip = 0x80 if m["x"].dtype == "int8" else 0
    return flip, int(m.root.attrs["x_zero"]) + flip


def corrected_bias(weights: np.ndarray, bias: np.ndarray, zero: int) -> np.ndarray:
    """The bias less what the zero point of the data adds to each total: int32, as totals wrap around."""
    sums = weights.reshape(weights.shape[0], -1).astype("int64").sum(1)
    wide = bias.astype("int64") - zero * sums
    return ((wide + 2**31) % 2**32 - 2**31).astype("int32")


def pack_channels(weights: np.ndarray, groups: int, rows: int) -> np.ndarray:
    """[groups * channels][depth] as [groups][channels / rows][depth / 4][rows][4], filled with zeros."""
    channels, depth = weights.shape[0] // groups, weights.shape[1]
    padded = np.zeros((groups, -(-channels // rows) * rows, -(-depth // 4) * 4), "int8")
    padded[:, :channels, :depth] = weights.reshape(groups, channels, depth)
    tiles = padded.reshape(groups, -1, rows, padded.shape[2] // 4, 4)
    return np.ascontiguousarray(tiles.transpose(0, 1, 3, 2, 4)).reshape(-1)


def pack_bias(bias: np.ndarray, groups: int, rows: int) -> np.ndarray:
    """A bias in the order of packed channels, filled with zeros."""
    channels = bias.size // groups
    padded = np.zeros((groups, -(-channels // rows) * rows), "int32")
    padded[:, :channels] = bias.reshape(groups, channels)
    return padded.reshape(-1)


def pack_matrix(weights: np.ndarray, columns: int) -> np.ndarray:
    """[depth][n] as [n / columns][depth / 4][columns][4], filled with zeros."""
    depth, n = weights.shape
    padded = np.zeros((-(-depth // 4) * 4, -(-n // columns) * columns), "int8")
    padded[:depth, :n] = weights
    tiles = padded.reshape(padded.shape[0] // 4, 4, padded.shape[1] // columns, columns)
    return np.ascontiguousarray(tiles.transpose(2, 0, 3, 1)).reshape(-1)


def three(values: Any) -> str:
    """A C initialiser of three extents."""
    return "{" + ", ".join(map(str, values)) + "}"
