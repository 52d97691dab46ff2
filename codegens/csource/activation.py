"""Activation functions that are one op."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from byoc_codegens.csource.c_text import FLOATS, UNSIGNED, literal
from byoc_codegens.csource.family import Kernel
from byoc_codegens.csource.formula import (
    Formula,
    attribute,
    check_operands,
    check_shapes,
    elementwise,
    emit_formula,
    name_of_numbers,
)

from byoc import Match, op, reject


def _leaky(attrs: Mapping[str, Any], dtype: str) -> str:
    return f"a > 0 ? a : a * {attribute('alpha')(attrs, dtype)}"


def _gelu(attrs: Mapping[str, Any], dtype: str) -> str:
    half, root = literal(0.5, dtype), literal(math.sqrt(0.5), dtype)
    return f"a * ({half} + {half} * @erf(a * {root}))"


def _gelu_tanh(attrs: Mapping[str, Any], dtype: str) -> str:
    half, root, cubic = (literal(v, dtype) for v in (0.5, math.sqrt(2 / math.pi), 0.044715))
    return f"{half} * a * (1 + @tanh({root} * a * (1 + {cubic} * a * a)))"


def _selu(attrs: Mapping[str, Any], dtype: str) -> str:
    alpha, scale = literal(1.6732632423543772, dtype), literal(1.0507009873554805, dtype)
    return f"{scale} * (a > 0 ? a : {alpha} * (@exp(a) - 1))"


def _softplus(attrs: Mapping[str, Any], dtype: str) -> str:
    beta, threshold = (literal(attrs[n], dtype) for n in ("beta", "threshold"))
    return f"{beta} * a > {threshold} ? a : @softplus({beta} * a) / {beta}"


FORMULAS: Mapping[str, Formula] = {
    "nn.relu": Formula("a < 0 ? 0 : a", lambda attrs, dtype: "a" if dtype in UNSIGNED else "a < 0 ? 0 : a"),
    "nn.leakyrelu": Formula(_leaky, name=name_of_numbers("alpha")),
    "nn.gelu": Formula(_gelu),
    "nn.gelu_tanh": Formula(_gelu_tanh),
    "nn.silu": Formula("a * @sigmoid(a)"),
    "nn.selu": Formula(_selu),
    "nn.softplus": Formula(_softplus, name=name_of_numbers("beta", "threshold")),
}


def _range(dtype: str) -> tuple[float, float]:
    """The least and the greatest number of a dtype."""
    if dtype in FLOATS:
        return -math.inf, math.inf
    bits = int(dtype.lstrip("uint"))
    return (0, 2**bits - 1) if dtype in UNSIGNED else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _clip(attrs: Mapping[str, Any], dtype: str) -> str:
    """Clip; a limit outside the range of an integer dtype is no limit."""
    least, greatest = _range(dtype)
    low, high = max(attrs["min"], least), min(attrs["max"], greatest)
    text = f"(a > {literal(high, dtype)} ? {literal(high, dtype)} : a)" if high < greatest else "a"
    return f"a < {literal(low, dtype)} ? {literal(low, dtype)} : {text}" if low > least else text


_CLIP = Formula(_clip, _clip, name=name_of_numbers("min", "max"))


def _clip_check(m: Match) -> Any:
    for name in ("min", "max"):
        if not isinstance(m.root.attrs.get(name), (int, float)):
            return reject(f"clip takes a number as its {name}", at=m["x"])
    return check_operands(m, "clip", _CLIP, (m["x"],)) or check_shapes(m, (m["x"],))


def _clip_emit(m: Match) -> str:
    return emit_formula(m, "clip", _CLIP, (m["x"],), dtype=m["x"].dtype)


_PRELU = Formula("a > 0 ? a : a * b")


def _slope_shape(m: Match) -> tuple[Any, ...]:
    """The slopes' shape with their axis at its place among the axes of x."""
    axis = m.root.attrs["axis"] % max(m["x"].rank, 1)
    return tuple(m["slope"].shape or ()) + (1,) * (m["x"].rank - axis - 1)


def _prelu_check(m: Match) -> Any:
    x, slope = m["x"], m["slope"]
    refusal = check_operands(m, "nn.prelu", _PRELU, (x, slope)) or check_shapes(m, (x,))
    if refusal is None and slope.rank != 1:
        return reject(f"nn.prelu takes slopes of rank 1, not {slope.rank}", at=slope)
    if refusal is None and slope.shape is not None and slope.shape[0] != 1:
        assert x.shape is not None
        if x.shape[m.root.attrs["axis"] % x.rank] != slope.shape[0]:
            return reject("nn.prelu takes one slope for each channel", at=slope)
    return refusal


def _prelu_emit(m: Match) -> str:
    shapes = (m["x"].shape or (), _slope_shape(m))
    return emit_formula(m, "prelu", _PRELU, (m["x"], m["slope"]), dtype=m["x"].dtype, shapes=shapes)


KERNELS = (
    *(elementwise(name, formula, 1) for name, formula in FORMULAS.items()),
    Kernel({"clip": op("clip")("x")}, _clip_check, _clip_emit),
    Kernel({"prelu": op("nn.prelu")("x", "slope")}, _prelu_check, _prelu_emit),
)
