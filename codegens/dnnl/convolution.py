"""Convolutions and transposed convolutions in one to three dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np
from byoc_codegens.dnnl.family import Kernel, Translation, ints
from byoc_codegens.dnnl.program import Tensor

from byoc import Match, reject


def _rank(m: Match) -> int:
    return m.out.rank - 2


def _spread(values: tuple[int, ...], rank: int, default: int) -> tuple[int, ...]:
    if not values:
        return (default,) * rank
    return values * rank if len(values) == 1 else values


def padding_of(m: Match, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Padding before and after each spatial axis."""
    padding = ints(m, "padding")
    if len(padding) == 2 * rank:
        return padding[:rank], padding[rank:]
    padding = _spread(padding, rank, 0)
    return padding, padding


def _check(m: Match) -> Any:
    attrs, rank = m.root.attrs, _rank(m)
    x, weight = m.root.inputs
    wanted = {1: "NCW", 2: "NCHW", 3: "NCDHW"}[rank]
    if attrs.get("data_layout") != wanted or attrs.get("out_layout") not in (wanted, "", None):
        return reject(f"takes the layout {wanted}, not {attrs.get('data_layout')}", at=x)
    kernel = ("IO" if "transpose" in m.root.op else "OI") + wanted[2:]
    if attrs.get("kernel_layout") != kernel:
        return reject(f"takes weights as {kernel}, not {attrs.get('kernel_layout')}", at=weight)
    if not weight.is_static:
        return reject("the shape of the weights must be known", at=weight)
    before, after = padding_of(m, rank)
    if min((*before, *after)) < 0:
        return reject("negative padding is not done", at=x)
    return None


def _geometry(m: Match) -> dict[str, tuple[int, ...]]:
    rank = _rank(m)
    before, after = padding_of(m, rank)
    dilation = _spread(ints(m, "dilation"), rank, 1)
    return {
        "strides": _spread(ints(m, "strides"), rank, 1),
        "dilation": tuple(d - 1 for d in dilation),
        "before": before,
        "after": after,
        "groups": ints(m, "groups") or (1,),
    }


_LANES = 16
_MOST_GROUPS = 8


def _convolution(m: Match, to: Translation) -> Tensor:
    x, weight = (to.tensor(v) for v in m.root.inputs)
    numbers = _geometry(m)
    groups = numbers["groups"][0]
    if weight.constant is not None and 1 < groups <= _MOST_GROUPS and _is_narrow(weight, groups):
        weight = _across_groups(weight, groups)
        numbers["groups"] = (1,)
    return to.add("convolution", [x, weight], m.out.shape, numbers=numbers)


def _is_narrow(weight: Tensor, groups: int) -> bool:
    """Whether a group's channels do not even fill one vector: oneDNN's primitives for that are some 16 times slower.

    Those for one channel in each group are quick.
    """
    outputs, inputs = int(weight.shape[0]) // groups, int(weight.shape[1])
    return inputs > 1 and min(inputs, outputs) < _LANES


def _across_groups(weight: Tensor, groups: int) -> Tensor:
    """The weights of one group that has zeros where groups do not meet."""
    assert weight.constant is not None
    parts = np.split(weight.constant, groups)
    whole = np.zeros((weight.shape[0], int(weight.shape[1]) * groups, *weight.constant.shape[2:]), weight.dtype)
    for part, rows, columns in zip(parts, np.split(whole, groups), range(groups), strict=True):
        rows[:, columns * part.shape[1] : (columns + 1) * part.shape[1]] = part
    return Tensor(weight.dtype, whole.shape, whole)


def _deconvolution(m: Match, to: Translation) -> Tensor:
    x, weight = (to.tensor(v) for v in m.root.inputs)
    numbers = _geometry(m)
    extra = _spread(ints(m, "output_padding"), _rank(m), 0)
    numbers["after"] = tuple(a - e for a, e in zip(numbers["after"], extra, strict=True))
    return to.add("deconvolution", [x, weight], m.out.shape, numbers=numbers)


KERNELS = (
    *(Kernel(f"nn.conv{n}d", _convolution, _check) for n in (1, 2, 3)),
    *(Kernel(f"nn.conv{n}d_transpose", _deconvolution, _check) for n in (1, 2, 3)),
)
