"""Parts of a tensor: strided slices, splits, reversal."""

from __future__ import annotations

from typing import Any

from byoc_codegens.csource.c_text import c_helper
from byoc_codegens.csource.family import Kernel
from byoc_codegens.csource.view import axis_of, check_moves, emit_copy, strides_of

from byoc import Dim, Match, op, reject


def _slice_attrs(m: Match) -> tuple[Any, Any, Any]:
    """Axes, begins and steps of a strided slice; ``None`` for what is not known when the model is compiled."""
    attrs = m.root.attrs
    axes, begin = (attrs.get(name, attrs.get(place)) for name, place in (("axes", "arg1"), ("begin", "arg2")))
    steps = attrs.get("strides", attrs.get("arg4"))
    return axes, begin, steps if steps is not None else (1,) * len(axes or ())


def _slice_check(m: Match) -> Any:
    refusal = check_moves(m)
    if refusal is not None:
        return refusal
    axes, begin, steps = _slice_attrs(m)
    if not isinstance(axes, tuple) or not isinstance(begin, tuple) or not all(isinstance(s, int) for s in steps):
        return reject("a slice whose axes, begins or steps are computed at run time is not done", at=m["x"])
    if not all(isinstance(b, (int, Dim)) for b in begin):
        return reject("a slice that begins at something else than an integer is not done", at=m["x"])
    if m.root.attrs.get("assume_inbound") and not (m["x"].is_static and m.out.is_static):
        return reject("whether the slice stays inside the tensor is known only at run time", at=m["x"])
    return None


def first_index(begin: Any, extent: Any, step: int) -> Any:
    """Index of a slice's first element; a C expression where it is known only at run time."""
    if isinstance(begin, int) and isinstance(extent, int):
        index = begin + extent if begin < 0 else begin
        return min(max(index, 0), extent) if step > 0 else min(max(index, -1), extent - 1)
    return f"csource_slice_start({begin}, {extent}, {step})"


def _slice_emit(m: Match) -> str:
    x = m["x"]
    axes, begins, steps = _slice_attrs(m)
    shape, strides = x.shape or (), strides_of(x)
    moves, offset = list(strides), []
    for axis, begin, step in zip((axis_of(a, x.rank) for a in axes), begins, steps, strict=True):
        start = first_index(begin, shape[axis], step)
        if start != 0:
            offset.append(f"{start} * {strides[axis]}")
        moves[axis] = strides[axis] * step
    if any("csource_slice_start" in text for text in offset):
        m.helper(c_helper("slice_start"))
    return emit_copy(m, m.out, strides_of(m.out), x, moves, m.out.shape or (), from_offset=" + ".join(offset) or 0)


def _split_emit(m: Match) -> str:
    x = m["x"]
    axis, strides = axis_of(m.root.attrs["axis"], x.rank), strides_of(x)
    lines, start = [], 0
    for part in m.outs:
        extents = part.shape or ()
        lines.append(emit_copy(m, part, strides_of(part), x, strides, extents, from_offset=start * strides[axis]))
        start = start + extents[axis]
    return "\n".join(lines)


def _flip_emit(m: Match) -> str:
    x = m["x"]
    shape, strides = x.shape or (), strides_of(x)
    axis = axis_of(m.root.attrs["axis"], x.rank)
    moves = [-1 * s if i == axis else s for i, s in enumerate(strides)]
    last = (shape[axis] - 1) * strides[axis]
    return emit_copy(m, m.out, strides, x, moves, shape, from_offset=last)


KERNELS = (
    Kernel({"strided_slice": op("strided_slice")("x")}, _slice_check, _slice_emit),
    Kernel({"split": op("split")("x")}, check_moves, _split_emit),
    Kernel({"flip": op("flip")("x")}, check_moves, _flip_emit),
)
