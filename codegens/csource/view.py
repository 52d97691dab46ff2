"""Ops that only move elements, as copies between strided views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from byoc_codegens.csource.c_text import ALL, c_helper, int64s, item_size, row_strides

from byoc import Match, Value, reject

MAX_RANK = 8


def check_moves(m: Match) -> Any:
    """Refuse tensors of unknown rank or of a dtype whose elements are no whole bytes."""
    for value in (*m.root.inputs, *m.outs):
        if value.shape is None:
            return reject("the rank of a tensor is not known", at=value)
        if value.dtype not in ALL:
            return reject(f"{m.root.op} of {value.dtype or 'an unknown dtype'} is not done", at=value)
        if value.rank > MAX_RANK:
            return reject(f"{m.root.op} of rank {value.rank} is not done, only up to {MAX_RANK}", at=value)
    return None


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the front."""
    return axis % rank if rank else 0


def strides_of(value: Value) -> list[Any]:
    return row_strides(value.shape or ())


def emit_copy(
    m: Match,
    to: Value,
    to_strides: Sequence[Any],
    source: Value,
    from_strides: Sequence[Any],
    extents: Sequence[Any],
    *,
    to_offset: Any = 0,
    from_offset: Any = 0,
) -> str:
    """C statements that copy a block of `extents`; strides and offsets are in elements."""
    m.helper(c_helper("copy"))
    return (
        f"csource_copy({_at(to, to_offset)}, {_at(source, from_offset)}, {item_size(source.dtype)}, {len(extents)},\n"
        f"             {int64s(extents)}, {int64s(to_strides)}, {int64s(from_strides)});"
    )


def emit_copy_all(m: Match, to: Value, source: Value) -> str:
    """C statements that copy a whole tensor in the order in which it lies."""
    m.helper(c_helper("copy"))
    return f"csource_copy_all({to}, {source}, {item_size(source.dtype)}, {source.size});"


def _at(value: Value, offset: Any) -> str:
    return str(value) if isinstance(offset, int) and offset == 0 else f"{value} + {offset}"
