"""Elements given more than once: broadcasting to a shape, tiling, repeating."""

from __future__ import annotations

from typing import Any

from byoc_codegens.csource.broadcast import is_one
from byoc_codegens.csource.family import Kernel
from byoc_codegens.csource.formula import check_shapes
from byoc_codegens.csource.view import axis_of, check_moves, emit_copy, strides_of

from byoc import Match, op


def _broadcast_check(m: Match) -> Any:
    return check_moves(m) or check_shapes(m, (m["x"],))


def _broadcast_emit(m: Match) -> str:
    x, shape = m["x"], m.out.shape or ()
    strides = [0 if is_one(d) else s for d, s in zip(x.shape or (), strides_of(x), strict=True)]
    moves = [0] * (m.out.rank - x.rank) + strides
    return emit_copy(m, m.out, strides_of(m.out), x, moves, shape)


def _tile_emit(m: Match) -> str:
    x, rank = m["x"], m.out.rank
    missing = rank - x.rank
    shape, strides = [1] * missing + list(x.shape or ()), [0] * missing + strides_of(x)
    repeats = [1] * (rank - len(m.root.attrs["repeats"])) + list(m.root.attrs["repeats"])
    extents: list[Any] = []
    to: list[Any] = []
    moves: list[Any] = []
    for repeat, dim, stride, out_stride in zip(repeats, shape, strides, strides_of(m.out), strict=True):
        extents += [repeat, dim]
        to += [out_stride * dim, out_stride]
        moves += [0, stride]
    return emit_copy(m, m.out, to, x, moves, extents)


def _repeat_emit(m: Match) -> str:
    x, repeats, axis = m["x"], m.root.attrs["repeats"], m.root.attrs["axis"]
    if axis is None:
        return emit_copy(m, m.out, (repeats, 1), x, (1, 0), (x.size, repeats))
    axis = axis_of(axis, x.rank)
    shape, to, strides = list(x.shape or ()), strides_of(m.out), strides_of(x)
    extents = [*shape[: axis + 1], repeats, *shape[axis + 1 :]]
    to = [*to[:axis], to[axis] * repeats, *to[axis:]]
    return emit_copy(m, m.out, to, x, [*strides[: axis + 1], 0, *strides[axis + 1 :]], extents)


KERNELS = (
    Kernel({"broadcast_to": op("broadcast_to")("x")}, _broadcast_check, _broadcast_emit),
    Kernel({"tile": op("tile")("x")}, check_moves, _tile_emit),
    Kernel({"repeat": op("repeat")("x")}, check_moves, _repeat_emit),
)
