"""C source text: element types, literals, shapes and the helper functions kept in the folder `c`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

STORED = {
    "float32": "float", "float64": "double", "float16": "byoc_half", "bfloat16": "byoc_bfloat", "bool": "uint8_t",
    **{f"{sign}int{bits}": f"{sign}int{bits}_t" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip
FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})
SIGNED = frozenset({"int8", "int16", "int32", "int64"})
UNSIGNED = frozenset({"uint8", "uint16", "uint32", "uint64"})
INTEGERS = SIGNED | UNSIGNED
ALL = FLOATS | INTEGERS | {"bool"}
_SHORT = {"float": "f", "bfloat": "bf", "int": "i", "uint": "u", "bool": "b"}
_HALVES = {"float16": "half", "bfloat16": "bfloat"}


def item_size(dtype: str) -> int:
    """Bytes of one element."""
    return 1 if dtype == "bool" else int(dtype.lstrip("abcdefghijklmnopqrstuvwxyz")) // 8


def short(dtype: str) -> str:
    """The dtype as part of a function's name: ``f32``, ``i8``, ``bool``."""
    kind = dtype.rstrip("0123456789")
    return "bool" if dtype == "bool" else _SHORT[kind] + dtype[len(kind) :]


def stored(dtype: str) -> str:
    """The C type in which an element lies in memory."""
    return STORED[dtype]


def computed(dtype: str) -> str:
    """The C type in which an element is computed: half precision in float."""
    return "float" if dtype in _HALVES else STORED[dtype]


def load(dtype: str, element: str) -> str:
    """The value of an element in memory."""
    return f"byoc_{_HALVES[dtype]}_to_float({element})" if dtype in _HALVES else element


def store(dtype: str, value: str) -> str:
    """A computed value as it goes to memory."""
    return f"byoc_float_to_{_HALVES[dtype]}({value})" if dtype in _HALVES else value


def literal(value: float | bool, dtype: str) -> str:
    """A number as C text of the type in which `dtype` is computed."""
    if dtype == "bool":
        return "1" if value else "0"
    if dtype in INTEGERS:
        whole = int(value)
        if whole == -(2**63):
            return "INT64_MIN"
        return f"{whole}{'u' * (dtype in UNSIGNED)}{'ll' * (whole.bit_length() > 31)}"
    number = float(value)
    suffix = "" if dtype == "float64" else "f"
    if math.isnan(number):
        return "NAN"
    if math.isinf(number):
        return "INFINITY" if number > 0 else "-INFINITY"
    if dtype != "float64" and abs(number) > 3.4028234663852886e38:
        return "INFINITY" if number > 0 else "-INFINITY"
    text = repr(number) if dtype == "float64" else f"{number:.9g}"
    return (text if any(c in text for c in ".e") else f"{text}.0") + suffix


def c_string(text: str) -> str:
    """Text as a C string literal."""
    return '"' + "".join(c if c.isascii() and c.isprintable() and c not in '"\\?' else "_" for c in text) + '"'


def lowest(dtype: str) -> str:
    """The identity of max."""
    return {"bool": "0", **dict.fromkeys(UNSIGNED, "0")}.get(dtype) or _limit(dtype, "-INFINITY", "MIN")


def highest(dtype: str) -> str:
    """The identity of min."""
    return "1" if dtype == "bool" else _limit(dtype, "INFINITY", "MAX")


def _limit(dtype: str, infinity: str, which: str) -> str:
    return infinity if dtype in FLOATS else f"{dtype.upper()}_{which}"


def int64s(values: Iterable[Any]) -> str:
    """Ints and dims as a C array of int64_t; an empty one has a single unused element."""
    return "(const int64_t[]){" + (", ".join(str(v) for v in values) or "0") + "}"


def product(dims: Iterable[Any]) -> Any:
    """The product of ints and dims."""
    total: Any = 1
    for dim in dims:
        total = total * dim
    return total


def row_strides(shape: Iterable[Any]) -> list[Any]:
    """Strides, in elements, of a tensor that lies in row-major order."""
    strides: list[Any] = []
    step: Any = 1
    for dim in reversed(tuple(shape)):
        strides.insert(0, step)
        step = step * dim
    return strides


@cache
def _template(name: str) -> Template:
    return Template((Path(__file__).parent / "c" / f"{name}.c").read_text(encoding="utf-8"))


def c_helper(name: str, /, **fields: Any) -> str:
    """The text of ``c/<name>.c``, its ``$fields`` filled in."""
    return _template(name).substitute({key: str(value) for key, value in fields.items()})
