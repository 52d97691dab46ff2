"""Pooling, reductions, normalisations, resampling."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from byoc_codegens.dnnl.convolution import _spread, padding_of
from byoc_codegens.dnnl.family import BYTES, FLOATS, Kernel, Translation, ints
from byoc_codegens.dnnl.program import Tensor

from byoc import Match, reject

_POOLS = {f"nn.{kind}_pool{n}d": (kind, n) for kind in ("max", "avg") for n in (1, 2, 3)}
_LAYOUTS = {1: "NCW", 2: "NCHW", 3: "NCDHW"}


def _check_pool(m: Match) -> Any:
    rank = m.out.rank - 2
    layout = m.root.attrs.get("layout")
    if layout != _LAYOUTS[rank]:
        return reject(f"takes the layout {_LAYOUTS[rank]}, not {layout}", at=m.root.inputs[0])
    before, after = padding_of(m, rank)
    if min((*before, *after)) < 0:
        return reject("negative padding is not done", at=m.out)
    window = _spread(ints(m, "pool_size"), rank, 1)
    dilation = _spread(ints(m, "dilation"), rank, 1)
    if any(p > (k - 1) * d for p, k, d in zip(before, window, dilation, strict=True)):
        return reject("windows would lie in the padding only", at=m.out)
    if not all(isinstance(d, int) for d in (m.out.shape or ())[2:]):
        return reject("takes images of known size", at=m.out)
    if _counts_padding(m) and any(a > b for a, b in zip(_reach(m), padding_of(m, rank)[1], strict=True)):
        return reject("averages that count padding do not reach beyond it", at=m.out)
    return None


def _counts_padding(m: Match) -> bool:
    return "avg" in m.root.op and bool(m.root.attrs.get("count_include_pad"))


def _reach(m: Match) -> tuple[int, ...]:
    """Padding that the last window needs after each axis; with ceil_mode it may be more than what is given."""
    rank = m.out.rank - 2
    parts = (_spread(ints(m, name), rank, 1) for name in ("strides", "pool_size", "dilation"))
    axes = zip(m.root.inputs[0].shape[2:], m.out.shape[2:], padding_of(m, rank)[0], *parts, strict=True)
    return tuple((out - 1) * s + (k - 1) * d + 1 - size - before for size, out, before, s, k, d in axes)


def _pool(m: Match, to: Translation) -> Tensor:
    kind, rank = _POOLS[m.root.op]
    x = to.tensor(m.root.inputs[0])
    assert m.out.shape is not None
    strides, window = _spread(ints(m, "strides"), rank, 1), _spread(ints(m, "pool_size"), rank, 1)
    dilation = _spread(ints(m, "dilation"), rank, 1)
    before, _ = padding_of(m, rank)
    algorithm = "pool_max" if kind == "max" else "pool_average_padding" if _counts_padding(m) else "pool_average"
    numbers = {
        "strides": strides, "window": window, "dilation": [d - 1 for d in dilation], "before": before,
        "after": _reach(m),
    }  # fmt: skip
    return to.add("pool", [x], m.out.shape, algorithm=algorithm, numbers=numbers, dtype=x.dtype)


def _check_adaptive(m: Match) -> Any:
    if any(d != 1 for d in (m.out.shape or ())[2:]):
        return reject("averages over whole images only", at=m.out)
    return _static_image(m)


def _static_image(m: Match) -> Any:
    if not all(isinstance(d, int) for d in (m.root.inputs[0].shape or ())[2:]):
        return reject("takes images of known size", at=m.root.inputs[0])
    return None


def global_pool(x: Tensor, kind: str, to: Translation) -> Tensor:
    """Over all spatial axes, which stay with size one."""
    rank = x.rank - 2
    window = [int(d) for d in x.shape[2:]]
    zeros = [0] * rank
    numbers = {"strides": [1] * rank, "window": window, "dilation": zeros, "before": zeros, "after": zeros}
    return to.add("pool", [x], (*x.shape[:2], *[1] * rank), algorithm=kind, numbers=numbers)


def _adaptive(m: Match, to: Translation) -> Tensor:
    return global_pool(to.tensor(m.root.inputs[0]), "pool_average", to)


def _axes(m: Match) -> tuple[int, ...]:
    rank = m.root.inputs[0].rank
    given = m.root.attrs.get("axis")
    if given is None:
        return tuple(range(rank))
    axes = (given,) if isinstance(given, int) else tuple(given)
    return tuple(sorted(int(a) % rank for a in axes))


def _reduction(m: Match, to: Translation) -> Tensor:
    x, axes = to.tensor(m.root.inputs[0]), _axes(m)
    assert m.out.shape is not None
    kept = tuple(1 if i in axes else d for i, d in enumerate(x.shape))
    over_image = x.rank in (4, 5) and axes == tuple(range(2, x.rank)) and all(isinstance(d, int) for d in x.shape[2:])
    if over_image and m.root.op in ("mean", "max"):
        reduced = global_pool(x, "pool_average" if m.root.op == "mean" else "pool_max", to)
    elif kept == x.shape:
        reduced = x
    elif m.root.op in ("sum", "mean") and _is_one_block(x, axes):
        reduced = _sum_by_product(x, axes, m.root.op == "mean", to)
    else:
        reduced = to.add("reduction", [x], kept, algorithm=f"reduction_{m.root.op}")
    return to.reshape(reduced, m.out.shape)


def _is_one_block(x: Tensor, axes: tuple[int, ...]) -> bool:
    return axes == tuple(range(axes[0], axes[-1] + 1)) and all(isinstance(x.shape[a], int) for a in axes)


def _sum_by_product(x: Tensor, axes: tuple[int, ...], mean: bool, to: Translation) -> Tensor:
    """A product with a row or column of equal numbers: oneDNN's reduction of 3.2 is a plain loop on one thread."""
    outer, inner = x.shape[: axes[0]], x.shape[axes[-1] + 1 :]
    count = math.prod(int(x.shape[a]) for a in axes)
    number = np.float32(1 / count if mean else 1)
    rows: Any = math.prod(outer, start=1)
    columns: Any = math.prod(inner, start=1)
    if isinstance(columns, int) and columns == 1:
        ones = Tensor("float32", (count, 1), np.full((count, 1), number))
        return to.add("matmul", [to.reshape(x, (rows, count)), ones], (rows, 1))
    ones = Tensor("float32", (1, 1, count), np.full((1, 1, count), number))
    return to.add("matmul", [ones, to.reshape(x, (rows, count, columns))], (rows, 1, columns))


def _softmax(m: Match, to: Translation) -> Tensor:
    x = to.tensor(m.root.inputs[0])
    axis = int(m.root.attrs["axis"]) % x.rank
    return to.add("softmax", [x], x.shape, algorithm="softmax", numbers={"axis": [axis]})


def _check_layer_norm(m: Match) -> Any:
    x = m.root.inputs[0]
    axes = [a % x.rank for a in ints(m, "axes")]
    if axes != list(range(x.rank - len(axes), x.rank)):
        return reject("normalises the last axes only", at=x)
    if not all(isinstance(d, int) for d in (x.shape or ())[x.rank - len(axes) :]):
        return reject("the normalised axes must have known sizes", at=x)
    return None


def _layer_norm(m: Match, to: Translation) -> Tensor:
    x, *affine = (to.tensor(v) for v in m.root.inputs)
    count = len(ints(m, "axes"))
    epsilon = {"epsilon": float(m.root.attrs["epsilon"])}
    if count == 1 and x.rank in (2, 3, 4, 5) and len(affine) == 2:
        return to.add("layer_norm", [x, *affine], x.shape, scalars=epsilon)
    width = math.prod(int(d) for d in x.shape[x.rank - count :])
    rows: Any = math.prod(x.shape[: x.rank - count], start=1)
    flat = to.reshape(x, (rows, width))
    affine = [to.reshape(a, (width,)) for a in affine]
    return to.reshape(to.add("layer_norm", [flat, *affine], (rows, width), scalars=epsilon), x.shape)


def _check_groups(m: Match) -> Any:
    x = m.root.inputs[0]
    if not all(isinstance(d, int) for d in (x.shape or ())[1:]):
        return reject("all but the batch must have known sizes", at=x)
    axes = [a % x.rank for a in ints(m, "axes")]
    if axes != list(range(2, x.rank)) or int(m.root.attrs.get("channel_axis", 1)) % x.rank != 1:
        return reject("normalises the axes after the channels only", at=x)
    return None


def _group_norm(m: Match, to: Translation) -> Tensor:
    """Rows of one group each are normalised; scale and shift follow."""
    x, gamma, beta = (to.tensor(v) for v in m.root.inputs)
    channels = int(x.shape[1])
    groups = int(m.root.attrs.get("num_groups", channels))
    width = math.prod(int(d) for d in x.shape[1:]) // groups
    rows: Any = x.shape[0] * groups
    flat = to.reshape(x, (rows, width))
    normal = to.add("layer_norm", [flat], (rows, width), scalars={"epsilon": float(m.root.attrs["epsilon"])})
    per_channel = (1, channels, *[1] * (x.rank - 2))
    scaled = to.add(
        "binary", [to.reshape(normal, x.shape), to.reshape(gamma, per_channel)], x.shape, algorithm="binary_mul"
    )
    return to.add("binary", [scaled, to.reshape(beta, per_channel)], x.shape, algorithm="binary_add")


def _check_resize(m: Match) -> Any:
    attrs, x = m.root.attrs, m.root.inputs[0]
    if attrs.get("layout") != "NCHW":
        return reject(f"takes the layout NCHW, not {attrs.get('layout')}", at=x)
    if not x.is_static or not m.out.is_static:
        return reject("takes images of known size", at=x)
    method, mode = attrs.get("method"), attrs.get("coordinate_transformation_mode")
    assert x.shape is not None and m.out.shape is not None
    whole = all(out % size == 0 for out, size in zip(m.out.shape[2:], x.shape[2:], strict=True))
    if method == "linear" and mode == "half_pixel":
        return None
    if method == "nearest_neighbor" and whole and (mode, attrs.get("rounding_method")) in (
        ("asymmetric", "floor"), ("half_pixel", "round"), ("half_pixel", "round_prefer_floor"),
        ("half_pixel", "round_prefer_ceil"),
    ):  # fmt: skip
        return None
    return reject(f"does not resample by {method}, {mode}", at=x)


def _resize(m: Match, to: Translation) -> Tensor:
    kind = "linear" if m.root.attrs["method"] == "linear" else "nearest"
    x = to.tensor(m.root.inputs[0])
    return to.add("resampling", [x], m.out.shape, algorithm=f"resampling_{kind}")


KERNELS = (
    *(
        Kernel(name, _pool, _check_pool, FLOATS | BYTES if kind == "max" else FLOATS)
        for name, (kind, _) in _POOLS.items()
    ),
    *(Kernel(f"nn.adaptive_avg_pool{n}d", _adaptive, _check_adaptive) for n in (1, 2, 3)),
    *(Kernel(name, _reduction) for name in ("sum", "mean", "max", "min")),
    Kernel("nn.softmax", _softmax),
    Kernel("nn.layer_norm", _layer_norm, _check_layer_norm),
    Kernel("nn.group_norm", _group_norm, _check_groups),
    Kernel("nn.instance_norm", _group_norm, _check_groups),
    Kernel("image.resize2d", _resize, _check_resize),
)
