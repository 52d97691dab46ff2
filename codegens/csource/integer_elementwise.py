"""Sums, averages and changes of scale of integers."""

from __future__ import annotations

from typing import Any

import numpy as np
from byoc_codegens.csource.c_text import c_helper, product, short, stored
from byoc_codegens.csource.dot4 import NARROW, requantise, three
from byoc_codegens.csource.family import Kernel

from byoc import Match, Value, op, reject
from byoc import requantise as requantised_values


def _types(kind: str, *values: Value) -> tuple[str, str]:
    """(name of the function, name of its struct) for these dtypes."""
    suffix = "_".join(short(v.dtype) for v in values)
    return f"csource_{kind}_{suffix}", f"Csource{kind.title()}_{suffix}"


def _check_rank(m: Match) -> Any:
    return reject("the rank of a tensor is not known", at=m.out) if m.out.shape is None else None


def _emit_add(m: Match) -> str:
    a, b, out, attrs = m["a"], m["b"], m.out, m.root.attrs
    name, kind = _types("add", a, b, out)
    (shift,) = attrs["shift"]
    narrow = {a.dtype, b.dtype} <= NARROW and shift <= 30
    name, kind = (name, kind) if narrow else (f"{name}_wide", f"{kind}_wide")
    m.helper(
        c_helper(
            "integer_add", name=name, type=kind, wide="int32_t" if narrow else "int64_t", first=stored(a.dtype),
            second=stored(b.dtype), result=stored(out.dtype),
        )
    )  # fmt: skip
    first, second = attrs["multiplier"]
    return (
        f"{kind} sum = {{{a}, {b}, {out}, {attrs['a_zero']}, {attrs['b_zero']}, {attrs['y_zero']}, {attrs['low']}, "
        f"{attrs['high']},\n    {first}, {second}, {shift}}};\n"
        f"byoc_parallel_for({out.size}, 16384, {name}_range, &sum);"
    )


def _emit_requantize(m: Match) -> str:
    x, out, attrs = m["x"], m.out, m.root.attrs
    if x.dtype not in NARROW:
        name, kind = _types("scale", x, out)
        ending = requantise(m)
        m.helper(c_helper("integer_scale", name=name, type=kind, element=stored(x.dtype), result=stored(out.dtype)))
        return (
            f"const CsourceRequantise ending = {ending};\n"
            f"{kind} scale = {{{x}, {out}, {attrs['x_zero']}, &ending}};\n"
            f"byoc_parallel_for({out.size}, 16384, {name}_range, &scale);"
        )
    name, kind = _types("table", out)
    m.helper(c_helper("integer_table", name=name, type=kind, result=stored(out.dtype)))
    values = np.arange(256, dtype="uint8").view(x.dtype).astype("int64") - attrs["x_zero"]
    table = requantised_values(
        values, attrs["multiplier"][0], attrs["shift"][0], attrs["y_zero"], attrs["low"], attrs["high"]
    )
    return (
        f"{kind} lookup = {{(const uint8_t *){x}, {m.constant(table.astype(out.dtype), 'table')}, {out}}};\n"
        f"byoc_parallel_for({out.size}, 16384, {name}_range, &lookup);"
    )


def _check_mean(m: Match) -> Any:
    axes = m.root.attrs["axes"]
    if list(axes) != list(range(axes[0], axes[0] + len(axes))):
        return reject(f"the axes {list(axes)} are not side by side", at=m["x"])
    return _check_rank(m)


def _emit_mean(m: Match) -> str:
    x, out, axes = m["x"], m.out, m.root.attrs["axes"]
    assert x.shape is not None
    name, kind = _types("sum", x, out)
    ending = requantise(m)
    m.helper(c_helper("integer_sum", name=name, type=kind, element=stored(x.dtype), result=stored(out.dtype)))
    outer, count, inner = x.shape[: axes[0]], x.shape[axes[0] : axes[-1] + 1], x.shape[axes[-1] + 1 :]
    return (
        f"const CsourceRequantise ending = {ending};\n"
        f"{kind} mean = {{{product(outer)}, {product(count)}, {product(inner)}, {m.root.attrs['x_zero']}, &ending, "
        f"{x}, {out}}};\n{name}(&mean);"
    )


def _emit_average(m: Match) -> str:
    x, out, attrs = m["x"], m.out, m.root.attrs
    assert x.shape is not None and out.shape is not None
    name, kind = _types("window", x, out)
    ending = requantise(m)
    m.helper(c_helper("integer_window", name=name, type=kind, element=stored(x.dtype), result=stored(out.dtype)))
    spatial = len(x.shape) - 2

    def extents(values: Any, fill: int) -> str:
        return three((*(fill,) * (3 - spatial), *values))

    excluding = int(len(attrs["multiplier"]) > 1)
    return (
        f"const CsourceRequantise ending = {ending};\n"
        f"{kind} average = {{{excluding}, {product(x.shape[:2])}, {extents(x.shape[2:], 1)}, "
        f"{extents(out.shape[2:], 1)}, {extents(attrs['pool_size'], 1)},\n    {extents(attrs['strides'], 1)}, "
        f"{extents(attrs['padding'][:spatial], 0)}, {attrs['x_zero']}, &ending, {x}, {out}}};\n{name}(&average);"
    )


def _emit_dynamic(m: Match) -> str:
    integers, scale, zero = m.outs
    m.helper(c_helper("dynamic_quantize"))
    return f"csource_dynamic_quantize({m['x']}, {m['x'].size}, {integers}, {scale}, {zero});"


KERNELS = (
    Kernel({"dynamic_quantize": op("byoc.dynamic_quantize")("x")}, _check_rank, _emit_dynamic),
    Kernel({"qlinear_add": op("byoc.qlinear_add")("a", "b")}, _check_rank, _emit_add),
    Kernel({"requantize": op("byoc.requantize")("x")}, _check_rank, _emit_requantize),
    Kernel({"qlinear_mean": op("byoc.qlinear_mean")("x")}, _check_mean, _emit_mean),
    Kernel({"qlinear_average_pool": op("byoc.qlinear_average_pool")("x")}, _check_rank, _emit_average),
)
