"""The register-tiled kernel behind convolutions and matrix products.

Rows times columns of the result are cut into tiles that stay in registers during the whole reduction: broadcast
elements of the data times vectors of the weights.  The last tile of a dimension overlaps the one before it instead of
being cut off, so that no load or store needs a mask.  The reduction is blocked only where the weights of a tile would
leave the L2 cache (Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", ACM TOMS 34(3), 2008).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tvm import tirx

from byoc.host.code import Code, ceil_div, divide, int64, load, spread, vector_at
from byoc.host.machine import Machine
from byoc.host.tiling import Blocking, Tile, row_tile, widths_of

# A kernel of fewer multiply-adds is quicker on one thread.
_SERIAL_WORK = 20_000

Index = Callable[[Any], Any]
Finish = Callable[[Any, Any, Any, int], Any]


@dataclass(frozen=True)
class Contraction:
    """result[unit, row, column] = sum over k of data[unit, row, k] * weight[unit, k, column].

    Parameters
    ----------
    units, rows, columns: extents; integers or symbolic.
    reduction: (extent, distance in the data) of each reduced axis, outermost first.
    data_base, weight_base, result_base: of a unit, the position of its first element.
    data_step, result_step: distance from row to row.
    packed: the weights lie as :func:`pack_columns` leaves them, else row by row (k, column).
    groups, group_step: columns are in so many groups; each reads its own part of the data, so far apart.
    columnwise: the data have the columns as well (depthwise convolution): data[unit, row, k, column].
    blocking: how the loops are cut; columns that are symbolic have none.
    """

    units: Any
    rows: Any
    columns: Any
    reduction: Sequence[tuple[Any, Any]]
    data_base: Index
    weight_base: Index
    result_base: Index
    data_step: Any
    result_step: Any
    packed: bool = True
    groups: int = 1
    group_step: int = 0
    columnwise: bool = False
    blocking: Blocking | None = None


def pack_columns(weight: np.ndarray, blocking: Blocking) -> np.ndarray:
    """The (group * k, column) weights of :class:`Contraction` chunk by chunk, so that a tile reads them in sequence.

    `weight` has shape (groups, k, columns of a group); the result is flat.
    """
    starts = range(0, weight.shape[2], blocking.columns)
    return np.concatenate([part[:, s : s + blocking.columns].ravel() for part in weight for s in starts])


def write_contraction(
    code: Code, problem: Contraction, tensors: Sequence[Any], finish: Finish, machine: Machine, dtype: str
) -> None:
    """Write the loops over flat (data, weight, result).

    `finish(vector, position, column, lanes)` gives what is stored for the sums of `lanes` neighbouring columns.
    """
    extents = (problem.units, problem.rows, problem.columns)
    if any(isinstance(extent, int) and extent == 0 for extent in extents):
        return
    # Of an empty result there are no tiles to divide the tasks by.
    filled = [extent > int64(0) for extent in extents if not isinstance(extent, int)]
    with code.when(tirx.all(*filled) if filled else True):
        _write_tiles(code, problem, tensors, finish, machine, dtype)


def _write_tiles(
    code: Code, problem: Contraction, tensors: Sequence[Any], finish: Finish, machine: Machine, dtype: str
) -> None:
    """The loops for whichever sizes of tile the extents may call for."""
    nest = _Nest(code, problem, tensors, finish, machine.lanes(dtype), dtype)
    rows, columns, blocking = problem.rows, problem.columns, problem.blocking
    if blocking is not None:
        if isinstance(rows, int):
            nest.write(blocking)
            return
        with code.when(rows >= int64(blocking.rows)):
            nest.write(blocking)
        with code.when(rows < int64(blocking.rows)):
            nest.write(replace(blocking, rows=1))
        return
    lanes = machine.lanes(dtype)
    tile = row_tile(rows, 2, machine, False)
    wide, narrow = 2 * lanes, min(8, lanes)
    enough = tirx.const(True, "bool") if isinstance(rows, int) else rows >= int64(tile)
    with code.when(tirx.all(enough, columns >= int64(wide))):
        nest.write(Blocking(tile, wide))
    with code.when(tirx.all(enough, columns < int64(wide), columns >= int64(narrow))):
        nest.write(Blocking(tile, narrow))
    if not isinstance(rows, int):
        with code.when(tirx.all(tirx.Not(enough), columns >= int64(narrow))):
            nest.write(Blocking(1, narrow))
    with code.when(columns < int64(narrow)):
        nest.write(Blocking(1, 1))


class _Nest:
    """The loops for one size of tile."""

    def __init__(
        self, code: Code, problem: Contraction, tensors: Sequence[Any], finish: Finish, lanes: int, dtype: str
    ) -> None:
        self.code, self.problem, self.finish, self.lanes, self.dtype = code, problem, finish, lanes, dtype
        self.data, self.weight, self.result = tensors
        self.depth: Any = 1
        for extent, _ in problem.reduction:
            self.depth = self.depth * extent

    def write(self, blocking: Blocking) -> None:
        """All tiles, in parallel."""
        code, problem, rows, chunk = self.code, self.problem, blocking.rows, blocking.columns
        self.cached_weights = blocking.cached_weights
        self.tiles_in_unit = ceil_div(problem.rows, rows)
        tiles = self.tiles_in_unit * problem.units
        full, rest = self._chunks(chunk)
        in_group = full + (1 if rest else 0)
        chunks = in_group * problem.groups
        self.block = _block(tiles, chunks, blocking.tasks)
        blocks = ceil_div(tiles, self.block)
        with code.loop("task", chunks * blocks, self._kind(tiles, chunks, rows * chunk)) as task:
            number, piece = divide(task, blocks) if _is_many(chunks) else (int64(0), task)
            number, piece = code.let("chunk", number), code.let("piece", piece)
            self.first = code.let("first_tile", piece * int64(self.block))
            self.here = code.let("tiles", tirx.min(int64(self.block), int64(tiles) - self.first))
            self.group, within = divide(number, in_group) if problem.groups > 1 else (int64(0), number)
            self.group, within = code.let("group", self.group), code.let("within", within)
            if not rest:
                self._tiles(Tile(rows, widths_of(chunk, self.lanes)), within, chunk)
                return
            with code.when(within < int64(full) if full else False):
                self._tiles(Tile(rows, widths_of(chunk, self.lanes)), within, chunk)
            with code.when(within >= int64(full) if full else True):
                self._tiles(Tile(rows, widths_of(rest, self.lanes)), within, chunk)

    def _chunks(self, chunk: int) -> tuple[Any, int]:
        """Full column chunks of a group, and the columns of a narrower last one; symbolic columns overlap instead."""
        columns = self.problem.columns
        if not isinstance(columns, int):
            return ceil_div(columns, chunk), 0
        return divmod(columns // self.problem.groups, chunk)

    def _kind(self, tiles: Any, chunks: Any, size: int) -> str:
        static = isinstance(tiles, int) and isinstance(chunks, int) and isinstance(self.depth, int)
        return "serial" if static and tiles * chunks * size * self.depth < _SERIAL_WORK else "parallel"

    def _tiles(self, tile: Tile, within: Any, chunk: int) -> None:
        code, problem = self.code, self.problem
        start = within * int64(chunk)
        if not isinstance(problem.columns, int):
            start = tirx.min(start, problem.columns - int64(chunk))
        elif problem.groups > 1:
            start = start + self.group * int64(problem.columns // problem.groups)
        self.tile, self.column = tile, code.let("column", start)
        depth = self._depth_of_block()
        if depth is not None:
            self._in_blocks(depth)
            return
        with code.loop("t", self.here) as t:
            unit, row = self._place(t)
            sums = self._registers(lambda _, width: self._zero(width))
            self._accumulate(sums, unit, row, problem.reduction, int64(0), int64(0))
            self._store(unit, row, [load(*s) for s in sums])

    def _place(self, t: Any) -> tuple[Any, Any]:
        """(unit, first row) of the `t`-th tile of this task."""
        code, problem, rows = self.code, self.problem, self.tile.rows
        index = code.let("tile", self.first + t)
        unit, row = divide(index, self.tiles_in_unit) if _is_many(problem.units) else (int64(0), index)
        unit, row = code.let("unit", unit), row * int64(rows)
        if not (isinstance(problem.rows, int) and problem.rows % rows == 0):
            row = tirx.min(row, int64(problem.rows) - int64(rows))
        return unit, code.let("row", row)

    def _depth_of_block(self) -> int | None:
        """Elements of the innermost reduced axis that a block takes, if the reduction is to be blocked."""
        sizes = [e for e, _ in self.problem.reduction]
        if not (self.problem.packed and isinstance(self.block, int) and self.block > 1):
            return None
        item = 8 if self.dtype.endswith("64") else 4
        if not isinstance(self.depth, int) or self.depth * self.tile.columns * item <= self.cached_weights:
            return None
        pieces = -(-sizes[-1] * self.tile.columns * item // self.cached_weights)
        return -(-sizes[-1] // pieces)

    def _in_blocks(self, depth: int) -> None:
        """The reduction a block at a time over all tiles, the sums waiting in memory."""
        code, tile = self.code, self.tile
        size = tile.rows * tile.columns
        waiting = code.scratch("sums_so_far", self.block * size, self.dtype)
        places = [(r * tile.columns + s, w) for r, s, w in tile.vectors]
        with code.loop("z", self.here) as t:
            for offset, width in places:
                code.store(waiting, vector_at(t * int64(size) + int64(offset), width), self._zero(width))
        *outer, (extent, step) = self.problem.reduction
        pieces = -(-extent // depth)
        count = pieces
        for e, _ in outer:
            count *= e
        with code.loop("block", count) as number:
            rest, piece = divide(number, pieces)
            begin = code.let("k_begin", piece * int64(depth))
            length = code.let("k_length", tirx.min(int64(depth), int64(extent) - begin))
            k, data = begin + rest * int64(extent), begin * int64(step)
            for e, distance in reversed(outer):
                rest, index = divide(rest, e)
                data = data + index * int64(distance)
            k, data = code.let("k_before", k), code.let("data_before", data)
            with code.loop("t", self.here) as t:
                unit, row = self._place(t)
                at = code.let("waiting_at", t * int64(size))
                sums = self._registers(lambda i, width: load(waiting, at + int64(places[i][0]), width))
                self._accumulate(sums, unit, row, [(length, step)], k, data)
                for s, (offset, width) in zip(sums, places, strict=True):
                    code.store(waiting, vector_at(at + int64(offset), width), load(*s))
        with code.loop("t", self.here) as t:
            unit, row = self._place(t)
            at = code.let("waiting_at", t * int64(size))
            self._store(unit, row, [load(waiting, at + int64(o), w) for o, w in places])

    def _zero(self, width: int) -> Any:
        return spread(tirx.const(0, self.dtype), width)

    def _registers(self, start: Callable[[int, int], Any]) -> list[tuple[Any, Any]]:
        """(array, index) of the sum of every vector of the tile, set to `start(number, width)`."""
        arrays: dict[int, Any] = {}
        places, used = [], dict.fromkeys(self.tile.widths, 0)
        for _, _, width in self.tile.vectors:
            if width not in arrays:
                count = self.tile.rows * self.tile.widths.count(width)
                kind = self.dtype if width == 1 else f"{self.dtype}x{width}"
                arrays[width] = self.code.local(f"sums{width}", count, kind)
            places.append((arrays[width], int64(used[width])))
            used[width] += 1
        for i, ((array, index), (_, _, width)) in enumerate(zip(places, self.tile.vectors, strict=True)):
            self.code.store(array, index, start(i, width))
        return places

    def _accumulate(
        self, sums: list[tuple[Any, Any]], unit: Any, row: Any, axes: Sequence[tuple[Any, Any]], k: Any, data: Any
    ) -> None:
        """Add the products along `axes`, which start `k` elements into the reduction and `data` into the data."""
        code, problem, tile = self.code, self.problem, self.tile
        base = problem.data_base(unit) + row * int64(problem.data_step) + data
        if problem.groups > 1:
            base = base + self.group * int64(problem.group_step)
        if problem.columnwise:
            base = base + self.column
        base = code.let("data_at", base)
        if problem.packed:
            step: Any = tile.columns
            start = self.column * int64(self.depth)
        else:
            step = problem.columns
            start = problem.weight_base(unit) + self.column
        start = code.let("weight_at", start + k * int64(step))
        self._loops(list(axes), base, int64(0), lambda d, kk: self._multiply(sums, d, start + kk * int64(step)))

    def _loops(self, axes: list[tuple[Any, Any]], data: Any, k: Any, body: Callable[[Any, Any], None]) -> None:
        if not axes:
            body(data, k)
            return
        (extent, step), *inner = axes
        with self.code.loop("k", extent) as index:
            self._loops(inner, data + index * int64(step), k * int64(extent) + index, body)

    def _multiply(self, sums: list[tuple[Any, Any]], data: Any, weight: Any) -> None:
        code, tile, problem = self.code, self.tile, self.problem
        data, weight = code.let("d", data), code.let("w", weight)
        vectors = [code.let("weights", load(self.weight, weight + int64(s), w)) for r, s, w in tile.vectors if r == 0]
        for i, (row, start, width) in enumerate(tile.vectors):
            at = data + int64(row) * int64(problem.data_step)
            if problem.columnwise:
                value = load(self.data, at + int64(start), width)
            else:
                value = spread(load(self.data, at), width)
            code.store(*sums[i], load(*sums[i]) + value * vectors[i % len(vectors)])

    def _store(self, unit: Any, row: Any, values: list[Any]) -> None:
        code, problem = self.code, self.problem
        base = code.let("result_at", problem.result_base(unit) + row * int64(problem.result_step) + self.column)
        for value, (r, start, width) in zip(values, self.tile.vectors, strict=True):
            at = base + int64(r) * int64(problem.result_step) + int64(start)
            finished = self.finish(value, at, self.column + int64(start), width)
            code.store(self.result, vector_at(at, width), finished)


def _is_many(size: Any) -> bool:
    return not (isinstance(size, int) and size == 1)


def _block(tiles: Any, chunks: Any, tasks: int) -> Any:
    """Tiles in one task: all tasks get weights of one column chunk, and there are enough tasks for the threads."""
    if isinstance(tiles, int) and isinstance(chunks, int):
        wanted = max(1, -(-tasks // max(chunks, 1)))
        return max(1, -(-tiles // wanted))
    return tirx.max(ceil_div(tiles, tasks), int64(1))
