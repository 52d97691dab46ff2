"""Normalisation by statistics of the data itself: layer, RMS, group and instance norm."""

from __future__ import annotations

from typing import Any

from byoc_codegens.csource.c_text import c_helper, literal, product
from byoc_codegens.csource.family import Kernel
from byoc_codegens.csource.softmax import Reals, check_floats, real_type
from byoc_codegens.csource.view import axis_of

from byoc import Match, op, reject


def _axes(m: Match) -> list[int]:
    return sorted(axis_of(a, m["x"].rank) for a in m.root.attrs["axes"])


def _weights(m: Match) -> list[Any]:
    return [m[name] for name in ("gamma", "beta") if name in m]


def _trailing_check(m: Match) -> Any:
    """Layer and RMS norm: over the last axes, with a weight for each element of them."""
    refusal = check_floats(m)
    if refusal is not None:
        return refusal
    x, axes = m["x"], _axes(m)
    if axes != list(range(x.rank - len(axes), x.rank)) or not axes:
        return reject(f"{m.root.op} over axes {axes} is not done, only over the last ones", at=x)
    for weight in _weights(m):
        if tuple(weight.shape or ()) != tuple((x.shape or ())[axes[0] :]):
            return reject(f"{m.root.op} takes weights of the shape that it normalises", at=weight)
    return None


def _trailing_emit(m: Match) -> str:
    x, start = m["x"], _axes(m)[0]
    shape = x.shape or ()
    return _call(m, product(shape[:start]), 1, product(shape[start:]), 1, centred=m.root.op == "nn.layer_norm")


def _channel_check(m: Match) -> Any:
    """Group and instance norm: over all axes behind the channels, with a weight for each channel."""
    refusal = check_floats(m)
    if refusal is not None:
        return refusal
    x, axes = m["x"], _axes(m)
    channel = axis_of(m.root.attrs["channel_axis"], x.rank)
    if axes != list(range(channel + 1, x.rank)):
        return reject(f"{m.root.op} over axes {axes} is not done, only over all behind the channels", at=x)
    for weight in _weights(m):
        if tuple(weight.shape or ()) != ((x.shape or ())[channel],):
            return reject(f"{m.root.op} takes one weight for each channel", at=weight)
    return None


def _channel_emit(m: Match) -> str:
    x = m["x"]
    shape, channel = x.shape or (), axis_of(m.root.attrs["channel_axis"], x.rank)
    groups = m.root.attrs["num_groups"] if m.root.op == "nn.group_norm" else shape[channel]
    inner = product(shape[channel + 1 :])
    return _call(m, product(shape[:channel]), groups, shape[channel] // groups, inner, centred=True)


def _call(m: Match, outer: Any, groups: Any, channels: Any, inner: Any, *, centred: bool) -> str:
    kind, tensors = real_type(m), Reals(m)
    m.helper(c_helper("rows", T=kind))
    m.helper(c_helper("norm", T=kind, sqrt="sqrt" if kind == "double" else "sqrtf"))
    names = [tensors.result(), tensors.read(m["x"]), *(tensors.read(w) for w in _weights(m))]
    names += ["NULL"] * (4 - len(names))
    epsilon = literal(m.root.attrs["epsilon"], m.out.dtype)
    return tensors.around(
        f"csource_norm_{kind}({', '.join(names)},\n"
        f"                   {outer}, {groups}, {channels}, {inner}, {epsilon}, {int(centred)});"
    )


_THREE = ("x", "gamma", "beta")
KERNELS = (
    Kernel({"layer_norm": op("nn.layer_norm")(*_THREE)}, _trailing_check, _trailing_emit),
    Kernel({"rms_norm": op("nn.rms_norm")("x", "gamma")}, _trailing_check, _trailing_emit),
    Kernel({"group_norm": op("nn.group_norm")(*_THREE)}, _channel_check, _channel_emit),
    Kernel({"instance_norm": op("nn.instance_norm")(*_THREE)}, _channel_check, _channel_emit),
)
