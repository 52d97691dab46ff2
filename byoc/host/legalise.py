"""Ops that TVM lowers inexactly, lowered by us: statistics of long rows, extremes of infinities.

TVM's layer, instance and group norm take the variance as E[x^2] - E[x]^2, which cancels where the mean is large, and
add up float32 in one accumulator.  Here the variance is the mean square of what is left after the mean is taken away,
and rows of more than `LONG` elements are added up in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tvm import relax, te, tirx

LONG = 4096

Index = Sequence[Any]


def _layer_norm(builder: Any, call: Any) -> Any:
    def compute(x: Any, gamma: Any, beta: Any) -> Any:
        first = len(x.shape) - len(call.attrs.axes)
        return _normalised(
            x,
            x.shape[:first],
            x.shape[first:],
            lambda outer, inner: (*outer, *inner),
            lambda index: index[:first],
            lambda index: (gamma(*index[first:]), beta(*index[first:])),
            call.attrs.epsilon,
        )

    if _axes(call) != list(range(call.args[0].ty.ndim - len(call.attrs.axes), call.args[0].ty.ndim)):
        return _stock(builder, call)
    return builder.call_te(compute, *call.args, primfunc_name_hint=_name(call))


def _channel_norm(builder: Any, call: Any) -> Any:
    """Instance and group norm of channels in axis 1; an instance is a group of one channel."""

    def compute(x: Any, gamma: Any, beta: Any) -> Any:
        channels = x.shape[1]
        groups = getattr(call.attrs, "num_groups", channels)
        width = 1 if groups is channels else channels // groups
        return _normalised(
            x,
            (x.shape[0], groups),
            (width, *x.shape[2:]),
            lambda outer, inner: (outer[0], outer[1] * width + inner[0], *inner[1:]),
            lambda index: (index[0], index[1] // width),
            lambda index: (gamma(index[1]), beta(index[1])),
            call.attrs.epsilon,
        )

    rank = call.args[0].ty.ndim
    if int(call.attrs.channel_axis) % rank != 1 or _axes(call) != list(range(2, rank)):
        return _stock(builder, call)
    return builder.call_te(compute, *call.args, primfunc_name_hint=_name(call))


def _normalised(
    x: Any,
    outer: Index,
    inner: Index,
    place: Callable[[Index, Index], Index],
    row: Callable[[Index], Index],
    weights: Callable[[Index], tuple[Any, Any]],
    epsilon: float,
) -> Any:
    """`place` maps a row and a place in it to an index of `x`, `row` an index of `x` to its row."""
    wide = _accumulator(str(x.dtype), inner)
    count = math.prod(inner)

    def total(name: str, element: Callable[[Index, Any], Any]) -> Any:
        axes = [te.reduce_axis((0, extent), name=f"r{i}") for i, extent in enumerate(inner)]

        def body(*at: Any) -> Any:
            return te.sum(element(at, x(*place(at, axes)).astype(wide)), axis=axes)

        return te.compute(tuple(outer), body, name=name)

    def mean(sums: Any, at: Index) -> Any:
        return sums(*at) / _real(count, wide)

    sums = total("sums", lambda at, value: value)
    squares = total("squares", lambda at, value: (value - mean(sums, at)) * (value - mean(sums, at)))

    def result(*index: Any) -> Any:
        at = row(index)
        gamma, beta = (w.astype(wide) for w in weights(index))
        scale = te.rsqrt(mean(squares, at) + tirx.const(epsilon, wide))
        return ((x(*index).astype(wide) - mean(sums, at)) * scale * gamma + beta).astype(x.dtype)

    return te.compute(x.shape, result, name="normalised")


def _total(builder: Any, call: Any) -> Any:
    """Sum and mean of long rows."""
    dtype, axes = _dtype(call), _axes(call)
    extents = _extents(call, axes)
    if dtype != "float32" or not extents or _accumulator(dtype, extents) == dtype:
        return _stock(builder, call)

    def compute(x: Any) -> Any:
        sums = _reduced(x, call, te.sum, "float64")
        count = math.prod(x.shape[axis] for axis in axes) if call.op.name == "relax.mean" else 1
        return te.compute(sums.shape, lambda *at: (sums(*at) / _real(count, "float64")).astype(dtype), name="rounded")

    return builder.call_te(compute, call.args[0], primfunc_name_hint=_name(call))


def _extreme(builder: Any, call: Any) -> Any:
    """Maximum and minimum of floats, which start from an infinity: TVM starts from a finite number."""
    if _dtype(call) not in ("float16", "float32", "float64"):
        return _stock(builder, call)
    combine, start = (tirx.Max, -math.inf) if call.op.name == "relax.max" else (tirx.Min, math.inf)
    reduce = te.comm_reducer(lambda a, b: combine(a, b), lambda kind: tirx.const(start, kind), name=_name(call))
    return builder.call_te(lambda x: _reduced(x, call, reduce, x.dtype), call.args[0], primfunc_name_hint=_name(call))


def _reduced(x: Any, call: Any, reduce: Any, dtype: str) -> Any:
    """`reduce` over the axes of a reduction, in `dtype`."""
    axes, keep = _axes(call), bool(call.attrs.keepdims)
    inner = {axis: te.reduce_axis((0, x.shape[axis]), name=f"r{axis}") for axis in axes}
    kept = [axis for axis in range(len(x.shape)) if keep or axis not in inner]

    def body(*at: Any) -> Any:
        index = {**dict(zip(kept, at, strict=True)), **inner}
        return reduce(x(*(index[axis] for axis in range(len(x.shape)))).astype(dtype), axis=list(inner.values()))

    return te.compute(tuple(1 if axis in inner else x.shape[axis] for axis in kept), body, name=_name(call))


def _accumulator(dtype: str, extents: Index) -> str:
    if dtype == "float64":
        return dtype
    count = math.prod(int(e) if isinstance(e, (int, tirx.IntImm)) else LONG + 1 for e in extents)
    return "float64" if count > LONG else "float32"


def _axes(call: Any) -> list[int]:
    rank = call.args[0].ty.ndim
    named = getattr(call.attrs, "axes", None)
    axes = call.attrs.axis if named is None else named
    return sorted(int(axis) % rank for axis in (range(rank) if axes is None else axes))


def _extents(call: Any, axes: Sequence[int]) -> list[Any]:
    shape = call.args[0].ty.shape
    return [shape.values[axis] for axis in axes] if isinstance(shape, relax.ShapeExpr) else []


def _real(count: Any, dtype: str) -> Any:
    return tirx.const(float(int(count)), dtype) if isinstance(count, (int, tirx.IntImm)) else tirx.Cast(dtype, count)


def _dtype(call: Any) -> str:
    return str(call.ty.dtype).removeprefix("T.")


def _name(call: Any) -> str:
    return str(call.op.name).rpartition(".")[2]


def _stock(builder: Any, call: Any) -> Any:
    return call.op.get_attr("FLegalize")(builder, call)


LEGALISE = {
    "relax.nn.layer_norm": _layer_norm,
    "relax.nn.instance_norm": _channel_norm,
    "relax.nn.group_norm": _channel_norm,
    "relax.sum": _total,
    "relax.mean": _total,
    "relax.max": _extreme,
    "relax.min": _extreme,
}
