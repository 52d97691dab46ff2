"""Tensors put one behind the other."""

from __future__ import annotations

from typing import Any

from byoc_codegens.csource.family import Kernel
from byoc_codegens.csource.view import axis_of, check_moves, emit_copy, strides_of

from byoc import Match, op, reject


def _check(m: Match) -> Any:
    refusal = check_moves(m)
    if refusal is not None:
        return refusal
    for value in m.root.inputs:
        if value.dtype != m.out.dtype:
            return reject(f"{m.root.op} of {m.out.dtype} with {value.dtype} is not done", at=value)
    return None


def _concat_emit(m: Match) -> str:
    axis, strides = axis_of(m.root.attrs["axis"] or 0, m.out.rank), strides_of(m.out)
    lines, start = [], 0
    for part in m.root.inputs:
        extents = part.shape or ()
        lines.append(emit_copy(m, m.out, strides, part, strides_of(part), extents, to_offset=start * strides[axis]))
        start = start + extents[axis]
    return "\n".join(lines)


def _stack_emit(m: Match) -> str:
    axis, strides = axis_of(m.root.attrs["axis"] or 0, m.out.rank), strides_of(m.out)
    others = strides[:axis] + strides[axis + 1 :]
    return "\n".join(
        emit_copy(m, m.out, others, part, strides_of(part), part.shape or (), to_offset=i * strides[axis])
        for i, part in enumerate(m.root.inputs)
    )


KERNELS = (
    Kernel({"concat": op("concat")(...)}, _check, _concat_emit),
    Kernel({"stack": op("stack")(...)}, _check, _stack_emit),
)
