"""Element-wise arithmetic: unary and binary ops with broadcasting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from byoc_codegens.csource.c_text import FLOATS, UNSIGNED
from byoc_codegens.csource.family import Kernel
from byoc_codegens.csource.formula import Formula, check_operands, check_shapes, elementwise, emit_formula

from byoc import Match, op


def _signed(signed: str, unsigned: str) -> Any:
    return lambda attrs, dtype: unsigned if dtype in UNSIGNED else signed


UNARY: Mapping[str, Formula] = {
    "abs": Formula("@fabs(a)", _signed("a < 0 ? (@T)(0 - (@U)a) : a", "a")),
    "negative": Formula("-a", "(@T)(0 - (@U)a)"),
    "sign": Formula("(a > 0) - (a < 0)", "(a > 0) - (a < 0)"),
    "square": Formula("a * a", "(@T)((@U)a * (@U)a)"),
    "sqrt": Formula("@sqrt(a)"),
    "rsqrt": Formula("1 / @sqrt(a)"),
    "floor": Formula("@floor(a)", "a"),
    "ceil": Formula("@ceil(a)", "a"),
    "trunc": Formula("@trunc(a)", "a"),
    "round": Formula("@rint(a)", "a"),
    "erf": Formula("@erf(a)"),
    "sigmoid": Formula("@sigmoid(a)"),
    **{f: Formula(f"@{f}(a)") for f in ("exp", "log", "tanh", "sin", "cos", "tan", "asin", "acos", "atan")},
    **{f: Formula(f"@{f}(a)") for f in ("sinh", "cosh", "asinh", "acosh", "atanh")},
}
_WRAPPED = {f: f"(@T)((@U)a {sign} (@U)b)" for f, sign in (("add", "+"), ("subtract", "-"), ("multiply", "*"))}
BINARY: Mapping[str, Formula] = {
    "add": Formula("a + b", _WRAPPED["add"], "a | b"),
    "subtract": Formula("a - b", _WRAPPED["subtract"]),
    "multiply": Formula("a * b", _WRAPPED["multiply"], "a & b"),
    "divide": Formula("a / b", _signed("csource_quotient(a, b)", "b == 0 ? 0 : a / b")),
    "floor_divide": Formula("@floor(a / b)", _signed("csource_floor_quotient(a, b)", "b == 0 ? 0 : a / b")),
    "mod": Formula("@fmod(a, b)", _signed("csource_remainder(a, b)", "b == 0 ? 0 : a % b")),
    "floor_mod": Formula("a - @floor(a / b) * b", _signed("csource_floor_remainder(a, b)", "b == 0 ? 0 : a % b")),
    "power": Formula("@pow(a, b)", "csource_integer_power(a, b)"),
    "maximum": Formula("a > b || a != a ? a : b", "a > b ? a : b", "a | b"),
    "minimum": Formula("a < b || a != a ? a : b", "a < b ? a : b", "a & b"),
    "atan2": Formula("@atan2(a, b)"),
    "log_add_exp": Formula("a == b ? a + (@T)0.6931471805599453 : (a > b ? a : b) + @log1p(@exp(-@fabs(a - b)))"),
}
TERNARY: Mapping[str, Formula] = {"ewise_fma": Formula("a * b + c", "(@T)((@U)a * (@U)b + (@U)c)")}

# Exponents for which a few operations do what pow does.
_POWERS = {
    -1.0: "1 / a",
    -0.5: "1 / @sqrt(a)",
    0.25: "@sqrt(@sqrt(a))",
    0.5: "@sqrt(a)",
    0.75: "@sqrt(a) * @sqrt(@sqrt(a))",
    1.0: "a",
    1.5: "a * @sqrt(a)",
    2.0: "a * a",
    3.0: "a * a * a",
}


def _power_check(m: Match) -> Any:
    values = (m["x"], m["y"])
    return check_operands(m, "power", BINARY["power"], values) or check_shapes(m, values)


def _power_emit(m: Match) -> str:
    base, exponent = m["x"], m["y"]
    array = exponent.constant
    if base.dtype in FLOATS and array is not None and array.size == 1 and float(array.reshape(())) in _POWERS:
        number = float(array.reshape(()))
        name = f"power_{number:g}".replace("-", "m").replace(".", "p")
        return emit_formula(m, name, Formula(_POWERS[number]), (base,), dtype=base.dtype)
    return emit_formula(m, "power", BINARY["power"], (base, exponent), dtype=base.dtype)


KERNELS = (
    *(elementwise(name, formula, 1) for name, formula in UNARY.items()),
    *(elementwise(name, formula, 2) for name, formula in BINARY.items() if name != "power"),
    *(elementwise(name, formula, 3) for name, formula in TERNARY.items()),
    Kernel({"power": op("power")("x", "y")}, _power_check, _power_emit),
)
