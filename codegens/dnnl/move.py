"""Ops that only move elements."""

from __future__ import annotations

from typing import Any

from byoc_codegens.dnnl.family import BYTES, FLOATS, INDICES, Kernel, Translation, ints
from byoc_codegens.dnnl.program import Tensor

from byoc import Match, reject


def _reshape(m: Match, to: Translation) -> Tensor:
    return to.reshape(to.tensor(m.root.inputs[0]), m.out.shape)


def _permute(m: Match, to: Translation) -> Tensor:
    x = to.tensor(m.root.inputs[0])
    axes = m.root.attrs.get("axes")
    order = [int(a) % x.rank for a in axes] if axes is not None else list(range(x.rank))[::-1]
    return to.add("transpose", [x], m.out.shape, numbers={"axes": order}, dtype=x.dtype)


def _check_concat(m: Match) -> Any:
    axis = int(m.root.attrs["axis"]) % m.out.rank
    if not all(isinstance((v.shape or ())[axis], int) for v in m.root.inputs):
        return reject("the sizes along the axis must be known", at=m.out)
    return None


def _concat(m: Match, to: Translation) -> Tensor:
    axis = int(m.root.attrs["axis"]) % m.out.rank
    inputs = [to.tensor(v) for v in m.root.inputs]
    return to.add("concat", inputs, m.out.shape, numbers={"axis": [axis]}, dtype=m.out.dtype)


def _check_split(m: Match) -> Any:
    axis = int(m.root.attrs["axis"]) % m.outs[0].rank
    if not all(isinstance((v.shape or ())[axis], int) for v in m.outs):
        return reject("the sizes along the axis must be known", at=m.root.inputs[0])
    return None


def _split(m: Match, to: Translation) -> tuple[Tensor, ...]:
    x = to.tensor(m.root.inputs[0])
    axis, at, parts = int(m.root.attrs["axis"]) % x.rank, 0, []
    for value in m.outs:
        assert value.shape is not None
        begin = [at if i == axis else 0 for i in range(x.rank)]
        numbers = {"begin": begin, "steps": [1] * x.rank}
        parts.append(to.add("slice", [x], value.shape, numbers=numbers, dtype=x.dtype))
        at += int(value.shape[axis])
    return tuple(parts)


def _slice_of(m: Match) -> tuple[list[int], list[int]] | None:
    """(begin, steps) for each axis, or None where they are not known or run backwards."""
    x, attrs = m.root.inputs[0], m.root.attrs
    axes, begins = (attrs.get(name, attrs.get(place)) for name, place in (("axes", "arg1"), ("begin", "arg2")))
    strides = attrs.get("strides", attrs.get("arg4")) or [1] * len(axes or ())
    if x.shape is None or axes is None or begins is None:
        return None
    begin, steps = [0] * x.rank, [1] * x.rank
    for axis, first, step in zip(axes, begins, strides, strict=True):
        size = x.shape[int(axis)]
        if not isinstance(first, int) or not isinstance(step, int) or step < 1:
            return None
        if first < 0 and not isinstance(size, int):
            return None
        begin[int(axis) % x.rank] = max(0, first + size) if first < 0 else first
        steps[int(axis) % x.rank] = step
        if isinstance(size, int) and begin[int(axis) % x.rank] > size:
            return None
    return begin, steps


def _check_slice(m: Match) -> Any:
    found = _slice_of(m)
    if found is None:
        return reject("takes beginnings and steps that are known, forwards", at=m.root.inputs[0])
    x = m.root.inputs[0]
    for size, out, first, step in zip(x.shape or (), m.out.shape or (), *found, strict=True):
        if not isinstance(size, int) and (first, step) != (0, 1):
            return reject("slices of an axis of unknown size begin at its beginning", at=x)
        if isinstance(out, int) and isinstance(size, int) and first + (out - 1) * step >= size:
            return reject("reaches beyond the end", at=x)
        if isinstance(out, int) and isinstance(size, int) and step > 1 and out * step > size:
            return reject("steps must divide what is sliced", at=x)
        if isinstance(size, int) != isinstance(out, int):
            return reject("the end of the slice is not known", at=x)
        if not isinstance(size, int) and size != out:
            return reject("the end of the slice is not known", at=x)
    return None


def _slice(m: Match, to: Translation) -> Tensor:
    found = _slice_of(m)
    assert found is not None
    begin, steps = found
    numbers = {"begin": begin, "steps": steps}
    return to.add("slice", [to.tensor(m.root.inputs[0])], m.out.shape, numbers=numbers, dtype=m.out.dtype)


def _check_pad(m: Match) -> Any:
    mode, value = m.root.attrs.get("pad_mode", "constant"), float(m.root.attrs.get("pad_value", 0.0))
    if mode != "constant" or (value != 0.0 and m.out.dtype == "float32"):
        return reject("pads with zeros only", at=m.out)
    if min(ints(m, "pad_width"), default=0) < 0:
        return reject("negative padding is not done", at=m.out)
    return None


def _pad(m: Match, to: Translation) -> Tensor:
    width = ints(m, "pad_width")
    filler = int(float(m.root.attrs.get("pad_value", 0.0))) % 256
    numbers = {"before": width[::2], "after": width[1::2], "filler": [filler]}
    return to.add("pad", [to.tensor(m.root.inputs[0])], m.out.shape, numbers=numbers, dtype=m.out.dtype)


_ANY = FLOATS | BYTES
KERNELS = (
    *(Kernel(name, _reshape, dtypes=_ANY | INDICES) for name in ("reshape", "squeeze", "expand_dims", "flatten")),
    Kernel("permute_dims", _permute, dtypes=_ANY),
    Kernel("concat", _concat, _check_concat, _ANY),
    Kernel("split", _split, _check_split, _ANY),
    Kernel("strided_slice", _slice, _check_slice, _ANY),
    Kernel("nn.pad", _pad, _check_pad, _ANY),
)
