"""A dimension that is known only at run time."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import tvm
from tvm import tirx

_ANALYZER = tvm.sym.Analyzer()
_INFIX = {"Add": "+", "Sub": "-", "Mul": "*"}


def dim_of(expr: Any) -> int | Dim:
    """An int where TVM's expression is a known number, else a :class:`Dim`."""
    if isinstance(expr, int):
        return expr
    if isinstance(expr, Dim):
        return expr
    if isinstance(expr, tirx.IntImm):
        return int(expr)
    return Dim(expr)


class Dim:
    """A symbolic dimension.

    It supports ``+ - * // %`` with ints and other dims.  ``str(dim)`` is an expression that is valid in generated C
    (of type ``int64_t``) and in Python.  Two dims are equal when TVM can prove it.
    """

    __slots__ = ("expr",)

    def __init__(self, expr: Any) -> None:
        self.expr = expr

    def _with(self, other: Any, combine: Any) -> int | Dim:
        right = other.expr if isinstance(other, Dim) else tirx.IntImm("int64", int(other))
        return dim_of(_ANALYZER.simplify(combine(self.expr, right)))

    def __add__(self, other: Any) -> int | Dim:
        return self._with(other, lambda a, b: a + b)

    def __radd__(self, other: Any) -> int | Dim:
        return self._with(other, lambda a, b: b + a)

    def __sub__(self, other: Any) -> int | Dim:
        return self._with(other, lambda a, b: a - b)

    def __rsub__(self, other: Any) -> int | Dim:
        return self._with(other, lambda a, b: b - a)

    def __mul__(self, other: Any) -> int | Dim:
        return self._with(other, lambda a, b: a * b)

    def __rmul__(self, other: Any) -> int | Dim:
        return self._with(other, lambda a, b: b * a)

    def __floordiv__(self, other: Any) -> int | Dim:
        return self._with(other, tirx.floordiv)

    def __mod__(self, other: Any) -> int | Dim:
        return self._with(other, tirx.floormod)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Dim):
            return bool(self.expr.same_as(other.expr)) or bool(_ANALYZER.can_prove_equal(self.expr, other.expr))
        return False

    def __hash__(self) -> int:
        return hash(str(self))

    def __str__(self) -> str:
        return expression_text(self.expr)

    __repr__ = __str__

    def variables(self) -> list[str]:
        """Names of the symbols in it, sorted."""
        return sorted(set(re.findall(r"[A-Za-z_]\w*", str(self))) - set(_FUNCTIONS))

    def evaluate(self, values: dict[str, int]) -> int:
        """The number it stands for when each symbol has the value given."""
        # The prefix keeps symbols apart from Python's own words: a model may call a dimension "None".
        text = re.sub(r"[A-Za-z_]\w*", r"v_\g<0>", str(self)).replace("/", "//")
        names = {f"v_{name}": value for name, value in {**values, **_FUNCTIONS}.items()}
        return int(eval(text, {"__builtins__": {}}, names))


_COMBINE: dict[str, Callable[[Any, Any], Any]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "FloorDiv": tirx.floordiv,
    "FloorMod": tirx.floormod,
    "Max": tirx.max,
    "Min": tirx.min,
}


def substitute(expr: Any, symbols: Mapping[Any, Any]) -> Any:
    """TVM's integer expression with its variables replaced."""
    if isinstance(expr, tirx.Var):
        return symbols.get(expr, expr)
    combine = _COMBINE.get(type(expr).__name__)
    return expr if combine is None else combine(substitute(expr.a, symbols), substitute(expr.b, symbols))


_FUNCTIONS: dict[str, Any] = {"byoc_max": max, "byoc_min": min}


def expression_text(expr: Any) -> str:
    """TVM's integer expression as C text."""
    kind = type(expr).__name__
    if isinstance(expr, tirx.IntImm):
        return str(int(expr))
    if isinstance(expr, tirx.Var):
        return str(expr.name)
    if kind in _INFIX:
        return f"({expression_text(expr.a)} {_INFIX[kind]} {expression_text(expr.b)})"
    if kind in ("FloorDiv", "Div"):
        return f"({expression_text(expr.a)} / {expression_text(expr.b)})"
    if kind in ("FloorMod", "Mod"):
        return f"({expression_text(expr.a)} % {expression_text(expr.b)})"
    if kind in ("Max", "Min"):
        return f"byoc_{kind.lower()}({expression_text(expr.a)}, {expression_text(expr.b)})"
    if kind == "Cast":
        return expression_text(expr.value)
    raise ValueError(f"a dimension has the form {expr}, which byoc does not know ({kind})")
