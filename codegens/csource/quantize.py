"""Between floats and the integers that stand for them: quantize and dequantize, per tensor or per channel."""

from __future__ import annotations

from typing import Any

from byoc_codegens.csource.broadcast import emit_broadcast
from byoc_codegens.csource.c_text import INTEGERS, c_helper
from byoc_codegens.csource.family import Kernel
from byoc_codegens.csource.view import axis_of, check_moves

from byoc import Match, Value, op, reject

RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767), "uint16": (0, 65535)}
FLOATS = ("float32", "float16")


def _check(m: Match) -> Any:
    refusal = check_moves(m)
    if refusal is not None:
        return refusal
    x, scale, zero, out = m["x"], m["scale"], m["zero"], m.out
    integer, real = (out, x) if m.root.op == "quantize" else (x, out)
    accepted = integer.dtype in RANGES or (m.root.op == "dequantize" and integer.dtype == "int32")
    if not accepted or real.dtype not in FLOATS or scale.dtype not in FLOATS or zero.dtype not in INTEGERS | {*FLOATS}:
        return reject(f"{m.root.op} from {x.dtype} to {out.dtype} with scales of {scale.dtype} is not done", at=x)
    for parameter in (scale, zero):
        if parameter.size != 1 and (parameter.rank != 1 or parameter.shape != (_channels(m),)):
            return reject(f"{m.root.op} takes one scale for the tensor or one for each channel", at=parameter)
    return None


def _channels(m: Match) -> Any:
    return (m["x"].shape or (1,))[axis_of(m.root.attrs["axis"], m["x"].rank)]


def _shape(m: Match, parameter: Value) -> tuple[Any, ...]:
    """The shape with which a scale or zero point is broadcast over the tensor."""
    if parameter.size == 1:
        return ()
    return (parameter.size, *(1,) * (m["x"].rank - axis_of(m.root.attrs["axis"], m["x"].rank) - 1))


def _emit(m: Match) -> str:
    x, scale, zero = m["x"], m["scale"], m["zero"]
    if m.root.op == "quantize":
        low, high = RANGES[m.out.dtype]
        expression = f"(int32_t)csource_clampf(rintf(a / b) + c, {low}, {high})"
    elif m.out.dtype == "float16":
        expression = "csource_clampf((float)((int32_t)a - (int32_t)c) * b, -65504, 65504)"
    else:
        expression = "(float)((int32_t)a - (int32_t)c) * b"
    m.helper(c_helper("clamp"))
    shapes = (x.shape or (), _shape(m, scale), _shape(m, zero))
    return emit_broadcast(m, m.root.op, expression, (x, scale, zero), shapes=shapes)


_OPERANDS = ("x", "scale", "zero")
KERNELS = tuple(Kernel({name: op(name)(*_OPERANDS)}, _check, _emit) for name in ("quantize", "dequantize"))
