"""Small ops of language models: rotary embedding, Hadamard rotation, SwiGLU."""

from __future__ import annotations

import math
from typing import Any

from byoc_codegens.csource.c_text import c_helper, literal, product
from byoc_codegens.csource.family import Kernel

from byoc import Match, op, reject


def _check(m: Match) -> Any:
    for value in m.root.inputs:
        if value.dtype not in ("float32", "int64"):
            return reject(f"{m.root.op} of {value.dtype} is not done", at=value)
    return None


def _hadamard_check(m: Match) -> Any:
    size = (m["x"].shape or (0,))[-1]
    if not isinstance(size, int) or size > 4096:
        return reject(f"rotating rows of {size} is not done", at=m["x"])
    return _check(m)


def _rope(m: Match) -> str:
    m.helper(c_helper("rope"))
    batch, tokens, heads, dim = m["x"].shape or (0, 0, 0, 0)
    pairs = (m["frequencies"].shape or (0,))[0]
    turns = m.scratch(batch * tokens * pairs * 8)
    return (
        f"csource_rope(&(CsourceRope){{\n"
        f"    .in = {m['x']}, .frequencies = {m['frequencies']}, .lengths = {m['lengths']},\n"
        f"    .out = {m.out}, .turns = (float *){turns},\n"
        f"    .tokens = {tokens}, .heads = {heads}, .dim = {dim}, .pairs = {pairs},\n"
        f"    .interleaved = {int(m.root.attrs['interleaved'])},\n"
        f"    .factor = {literal(float(m.root.attrs['factor']), 'float32')}}}, {batch});"
    )


def _hadamard(m: Match) -> str:
    shape = m["x"].shape or (0,)
    m.helper(c_helper("hadamard", size=shape[-1], scale=literal(1 / math.sqrt(shape[-1]), "float32")))
    return f"csource_hadamard_{shape[-1]}({m['x']}, {product(shape[:-1])}, {m.out});"


def _swiglu(m: Match) -> str:
    m.helper(c_helper("math"))
    m.helper(c_helper("swiglu"))
    return f"csource_swiglu({m['gate']}, {m['up']}, {m.out.size}, {m.out});"


KERNELS = (
    Kernel({"rope": op("byoc.rope")("x", "lengths", "frequencies")}, _check, _rope),
    Kernel({"hadamard": op("byoc.hadamard")("x")}, _hadamard_check, _hadamard),
    Kernel({"swiglu": op("byoc.swiglu")("gate", "up")}, _check, _swiglu),
)
