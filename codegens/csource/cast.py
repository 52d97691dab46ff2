"""Conversion between dtypes."""

from __future__ import annotations

from typing import Any

from byoc_codegens.csource.broadcast import emit_broadcast
from byoc_codegens.csource.c_text import ALL, FLOATS, short
from byoc_codegens.csource.family import Kernel
from byoc_codegens.csource.formula import check_shapes

from byoc import Match, op, reject

NARROW = frozenset({"int8", "int16", "uint8", "uint16"})


def _check(m: Match) -> Any:
    for value in (m["x"], m.out):
        if value.dtype not in ALL:
            return reject(f"astype from {m['x'].dtype} to {m.out.dtype} is not done", at=value)
    return check_shapes(m, (m["x"],))


def _expression(source: str, target: str) -> str:
    if target == "bool":
        return "a != 0"
    if source in FLOATS and target in NARROW:
        return "(int32_t)a"  # straight to a narrow type, C defines less: this keeps the low bits
    return "a"


def _emit(m: Match) -> str:
    x, out = m["x"], m.out
    return emit_broadcast(m, f"{short(x.dtype)}_to", _expression(x.dtype, out.dtype), (x,))


KERNELS = (Kernel({"astype": op("astype")("x")}, _check, _emit),)
