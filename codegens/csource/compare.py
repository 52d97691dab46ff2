"""Comparisons, logic, bits and choice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from byoc_codegens.csource.c_text import UNSIGNED
from byoc_codegens.csource.family import Kernel
from byoc_codegens.csource.formula import Formula, check_operands, check_shapes, elementwise, emit_formula

from byoc import Match, op, reject

_COMPARISONS = {
    "equal": "==", "not_equal": "!=", "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=",
}  # fmt: skip
_LOGIC = {"logical_and": "a & b", "logical_or": "a | b", "logical_xor": "a ^ b"}


def _of_every_kind(text: str) -> Formula:
    return Formula(real=text, integer=text, boolean=text)


def _right_shift(attrs: Mapping[str, Any], dtype: str) -> str:
    return "(uint64_t)b < 8 * sizeof(@T) ? a >> b : " + ("0" if dtype in UNSIGNED else "(a < 0 ? -1 : 0)")


BINARY: Mapping[str, Formula] = {
    **{name: _of_every_kind(f"a {sign} b") for name, sign in _COMPARISONS.items()},
    **{name: Formula(boolean=text) for name, text in _LOGIC.items()},
    "bitwise_and": Formula("", "a & b", "a & b"),
    "bitwise_or": Formula("", "a | b", "a | b"),
    "bitwise_xor": Formula("", "a ^ b", "a ^ b"),
    "left_shift": Formula("", "(uint64_t)b < 8 * sizeof(@T) ? (@T)((@U)a << b) : 0"),
    "right_shift": Formula("", _right_shift),
}
UNARY: Mapping[str, Formula] = {
    "logical_not": Formula(boolean="!a"),
    "bitwise_not": Formula("", "(@T)~a", "!a"),
    "isnan": Formula("a != a", "0"),
    "isinf": Formula("@fabs(a) == INFINITY", "0"),
    "isfinite": Formula("@fabs(a) < INFINITY", "1"),
}
_WHERE = _of_every_kind("a ? b : c")


def _where_check(m: Match) -> Any:
    values = (m["x"], m["y"], m["z"])
    if m["x"].dtype != "bool":
        return reject(f"where chooses by bool, not by {m['x'].dtype}", at=m["x"])
    return check_operands(m, "where", _WHERE, values[1:]) or check_shapes(m, values)


def _where_emit(m: Match) -> str:
    return emit_formula(m, "where", _WHERE, (m["x"], m["y"], m["z"]), dtype=m["y"].dtype)


KERNELS = (
    *(elementwise(name, formula, 1) for name, formula in UNARY.items()),
    *(elementwise(name, formula, 2) for name, formula in BINARY.items()),
    Kernel({"where": op("where")("x", "y", "z")}, _where_check, _where_emit),
)
