"""Tensors put one behind the other."""

from __future__ import annotations

from typing import Any

from byoc_codegens.csource.family import Kernel
from byoc_codegens.csource.view import axis_of, check_moves, emit_copy, strides_of

from byoc import Match, Value, op, reject


def _check(m: Match) -> Any:
    refusal = check_moves(m)
    if refusal is not None:
        return refusal
    for value in m.root.inputs:
        if value.dtype != m.out.dtype:
            return reject(f"{m.root.op} of {m.out.dtype} with {value.dtype} is not done", at=value)
        if _without_axis(m, value, m.root.op == "concat") != _without_axis(m, m.out, True):
            return reject(f"whether the parts of {m.root.op} fit is known only at run time", at=value)
    return None


def _without_axis(m: Match, value: Value, remove: bool) -> tuple[Any, ...]:
    """The dimensions of a tensor, but that along which tensors are joined where it has one."""
    axis, shape = axis_of(m.root.attrs["axis"] or 0, m.out.rank), tuple(value.shape or ())
    return shape[:axis] + shape[axis + 1 :] if remove else shape


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
