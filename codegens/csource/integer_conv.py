"""Convolutions of integers: bytes in tiles of dot products, depthwise and 16-bit ones by their definition."""

from __future__ import annotations

from typing import Any

from byoc_codegens.csource.c_text import c_helper, item_size, short, stored
from byoc_codegens.csource.convolution import LONGEST_KERNEL, Geometry, geometry_of
from byoc_codegens.csource.dot4 import (
    NARROW,
    add_dot4,
    corrected_bias,
    is_narrow,
    pack_bias,
    pack_channels,
    requantise,
    three,
    unsigned_zero,
)
from byoc_codegens.csource.family import Kernel

from byoc import Match, op, reject

# A panel of pixels lies on the stack of a thread.
_DEEPEST = 16384
_ROUND_BYTES = "csource_requantise_channel(call->ending, channel, total, n, (uint8_t *)out)"
_ROUND = (
    "for (int64_t i = 0; i < n; ++i)\n        out[i] = csource_requantised(call->ending, total[i], "
    "call->ending->multiplier[channel],\n                                     call->ending->shift[channel])"
)


def _check(m: Match) -> Any:
    x, w, bias = m["x"], m["w"], m["bias"]
    if not (w.is_constant and bias.is_constant):
        return reject("its weights and bias must be constants", at=w)
    if x.shape is None or not isinstance(x.shape[1], int):
        return reject("the number of channels is known only at run time", at=x)
    if any(isinstance(d, int) and d > LONGEST_KERNEL for d in (w.shape or ())[2:]):
        return reject(f"kernels longer than {LONGEST_KERNEL} are not done", at=w)
    if any(v < 0 for v in m.root.attrs["padding"]):
        return reject("negative padding is not done", at=x)
    return None


def _padded(geometry: Geometry) -> list[Any]:
    """Extents of the part of the padded image that the kernel reaches."""
    sizes = zip(geometry.result, geometry.kernel, geometry.stride, geometry.dilation, strict=True)
    return [(result - 1) * stride + (kernel - 1) * dilation + 1 for result, kernel, stride, dilation in sizes]


def _emit(m: Match) -> str:
    geometry = geometry_of(m.out)
    if is_narrow(m) and geometry.in_channels > 1 and geometry.taps <= _DEEPEST:
        return _emit_bytes(m, geometry)
    return _emit_direct(m, geometry, str(m["w"]))


def _fields(geometry: Geometry) -> str:
    return f"{geometry.c_fields()}, .padded = {three(_padded(geometry))}"


def _copied(geometry: Geometry) -> Any:
    depth, height, width = _padded(geometry)
    return geometry.batch * geometry.groups * geometry.in_channels * depth * height * width


def _emit_bytes(m: Match, geometry: Geometry) -> str:
    x, w, bias = m["x"], m["w"], m["bias"]
    assert w.constant is not None and bias.constant is not None
    rows, _ = add_dot4(m)
    ending = requantise(m)
    m.helper(c_helper("int8_convolution"))
    flip, zero = unsigned_zero(m)
    weights = w.constant.reshape(w.constant.shape[0], -1)
    totals = corrected_bias(weights, bias.constant, zero)
    packed = m.constant(pack_channels(weights, geometry.groups, rows), "weights")
    added = m.constant(pack_bias(totals, geometry.groups, rows), "bias")
    copy = "NULL" if geometry.is_pointwise else m.scratch(_copied(geometry) + 64)
    return (
        f"const CsourceBytes convolution = {{{_fields(geometry)},\n"
        f"    .flip = {flip}, .fill = {zero}, .pointwise = {int(geometry.is_pointwise)}}};\n"
        f"const CsourceRequantise ending = {ending};\n"
        f"csource_bytes_convolution(&convolution, {geometry.batch}, {x}, {copy}, {packed}, {added}, &ending, {m.out});"
    )


def emit_transposed(m: Match, geometry: Geometry) -> str:
    """C statements of a matrix product [K, N] as a convolution of single pixels."""
    weights = m["w"].constant
    assert weights is not None
    return _emit_direct(m, geometry, m.constant(weights.T, "weights"))


def _emit_direct(m: Match, geometry: Geometry, weights: str) -> str:
    x, w, out = m["x"], m["w"], m.out
    narrow = x.dtype in ("int8", "uint8") and w.dtype == "int8"
    copy, total = ("int16", "int32") if narrow else ("int32", "int64")
    name = f"csource_integers_{short(x.dtype)}_{short(w.dtype)}_{short(out.dtype)}"
    ending = requantise(m)
    m.helper(c_helper("integer_direct_types"))
    m.helper(
        c_helper(
            "integer_direct", name=name, element=stored(x.dtype), weight=stored(w.dtype), result=stored(out.dtype),
            copy=stored(copy), sum=stored(total), round=_ROUND_BYTES if narrow and out.dtype in NARROW else _ROUND,
        )
    )  # fmt: skip
    scratch = m.scratch(_copied(geometry) * item_size(copy) + 64)
    return (
        f"const CsourceIntegers convolution = {{{_fields(geometry)}, .zero = {m.root.attrs['x_zero']}}};\n"
        f"const CsourceRequantise ending = {ending};\n"
        f"{name}(&convolution, {geometry.batch}, {x}, {scratch}, {weights}, {m['bias']}, &ending, {out});"
    )


KERNELS = (Kernel({"qlinear_conv": op("byoc.qlinear_conv")("x", "w", "bias")}, _check, _emit),)
