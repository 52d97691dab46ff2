"""Elements chosen by index, and the integers that tokens and masks come as."""

from __future__ import annotations

from typing import Any

import numpy as np
from byoc_codegens.dnnl.family import FLOATS, INDICES, Kernel, Translation
from byoc_codegens.dnnl.program import Tensor

from byoc import Match, reject

_MODES = ("fast", "clip", "wrap")


def _axis(m: Match) -> int:
    return int(m.root.attrs["axis"]) % m.root.inputs[0].rank


def _one_place(m: Match) -> int | None:
    """The place along the axis, where it is one that is known."""
    x, indices = m.root.inputs
    if indices.constant is None or indices.constant.size != 1 or x.shape is None:
        return None
    size, index = x.shape[_axis(m)], int(np.asarray(indices.constant).reshape(-1)[0])
    if not isinstance(size, int):
        return None
    index += size if index < 0 else 0
    return index if 0 <= index < size else None


def _check_take(m: Match) -> Any:
    x, indices = m.root.inputs
    if m.root.attrs.get("axis") is None:
        return reject("takes along one axis, not from all elements in a row", at=x)
    if x.dtype not in FLOATS or indices.dtype not in INDICES:
        return reject(f"takes float32 by int32 or int64, not {x.dtype} by {indices.dtype}", at=x)
    if m.root.attrs["mode"] not in _MODES:
        return reject(f"does not treat indices that lie outside as {m.root.attrs['mode']}", at=indices)
    return None


def _take(m: Match, to: Translation) -> Tensor:
    """A slice where the place is known."""
    x, axis, place = to.tensor(m.root.inputs[0]), _axis(m), _one_place(m)
    if place is None:
        indices = to.tensor(m.root.inputs[1])
        return to.add("gather", [x, indices], m.out.shape, algorithm=m.root.attrs["mode"], numbers={"axis": [axis]})
    kept = tuple(1 if i == axis else d for i, d in enumerate(x.shape))
    numbers = {"begin": [place if i == axis else 0 for i in range(x.rank)], "steps": [1] * x.rank}
    return to.reshape(to.add("slice", [x], kept, numbers=numbers), m.out.shape)


def _check_astype(m: Match) -> Any:
    x = m.root.inputs[0]
    if x.dtype not in INDICES or m.out.dtype not in FLOATS:
        return reject(f"turns int32 and int64 into float32 only, not {x.dtype} into {m.out.dtype}", at=x)
    return None


def _astype(m: Match, to: Translation) -> Tensor:
    return to.add("to_floats", [to.tensor(m.root.inputs[0])], m.out.shape)


KERNELS = (
    Kernel("take", _take, _check_take, FLOATS | INDICES),
    Kernel("astype", _astype, _check_astype, FLOATS | INDICES),
)
