"""Formulas of element-wise ops, in C, for every type in which they are computed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from byoc_codegens.csource.broadcast import can_broadcast, emit_broadcast
from byoc_codegens.csource.c_text import FLOATS, INTEGERS, c_helper, literal, stored
from byoc_codegens.csource.family import Kernel

from byoc import Match, Value, op, reject

_OWN = frozenset({"exp", "log", "log1p", "tanh", "erf", "sigmoid", "softplus"})
_CHEAP = frozenset({"fabs", "sqrt", "floor", "ceil", "trunc", "rint"})
_FUNCTION = re.compile(r"@(\w+)")
Text = str | Callable[[Mapping[str, Any], str], str]


@dataclass(frozen=True)
class Formula:
    """What an op computes at one element, in ``a``, ``b``, ``c``.

    Attributes
    ----------
    real, integer, boolean: the expression for inputs of that kind, ``""`` where the op has none.  ``@f(...)`` is the
        mathematical function f in the precision of the input, ``@T`` the type of the input and ``@U`` an unsigned
        type that holds it.  A function is given the attributes and the dtype.
    name: distinguishes the C function by the attributes it was made with; a function of the attributes, or empty.
    """

    real: Text = ""
    integer: Text = ""
    boolean: Text = ""
    name: Callable[[Mapping[str, Any]], str] = lambda attrs: ""

    def kind(self, dtype: str) -> Text:
        if dtype in FLOATS:
            return self.real
        return self.integer if dtype in INTEGERS else self.boolean

    def expression(self, attrs: Mapping[str, Any], dtype: str) -> str:
        """The C expression for inputs of `dtype`."""
        text = self.kind(dtype)
        if callable(text):
            text = text(attrs, dtype)
        return _FUNCTION.sub(lambda f: _function(f[1], dtype), text)


def _function(name: str, dtype: str) -> str:
    if name == "T":
        return stored(dtype)
    if name == "U":
        return "uint64_t" if dtype.endswith("64") else "uint32_t"
    single = dtype != "float64"
    if name in _OWN:
        return f"csource_{name}{'f' if single else ''}"
    return f"{name}{'f' if single else ''}"


def add_helpers(m: Match, text: str) -> None:
    """Add the helper functions that a C expression calls."""
    for name in ("math", "integer"):
        helper = c_helper(name)
        if any(f"{function}(" in text for function in re.findall(r"(csource_\w+)\(", helper)):
            m.helper(helper)


def grain_of(text: str) -> int:
    """Elements that are worth a thread: fewer where each takes long."""
    return 32768 if set(re.findall(r"(\w+?)f?\(", text)) <= _CHEAP else 4096


def attribute(name: str) -> Callable[[Mapping[str, Any], str], str]:
    """The attribute of that name as a C number."""
    return lambda attrs, dtype: literal(attrs[name], dtype)


def name_of_numbers(*names: str) -> Callable[[Mapping[str, Any]], str]:
    """A part of a C identifier that tells attributes of these names apart."""
    return lambda attrs: "_".join(number_name(attrs[n]) for n in names)


def number_name(value: float) -> str:
    """A number as part of a C identifier: ``-0.5`` becomes ``m0p5``."""
    return re.sub(r"\W", "", f"{value!r}".replace("-", "m").replace(".0", "").replace(".", "p"))


def elementwise(name: str, formula: Formula, arity: int) -> Kernel:
    """The kernel of an element-wise op whose operands all have one dtype."""
    operands = tuple("xyz"[:arity])

    def check(m: Match) -> Any:
        values = tuple(m[o] for o in operands)
        return check_operands(m, name, formula, values) or check_shapes(m, values)

    def emit(m: Match) -> str:
        values = tuple(m[o] for o in operands)
        return emit_formula(m, name, formula, values, dtype=values[0].dtype)

    short_name = name.rpartition(".")[2]
    return Kernel({short_name: op(name)(*operands)}, check, emit)


def check_operands(m: Match, name: str, formula: Formula, values: Sequence[Value]) -> Any:
    """Refuse dtypes that the formula has no expression for, and operands of different dtypes."""
    for value in values:
        if not value.dtype:
            return reject(f"{name}: the dtype of an operand is not known", at=value)
        if value.dtype not in FLOATS | INTEGERS | {"bool"} or not formula.kind(value.dtype):
            return reject(f"{name} of {value.dtype} is not done", at=value)
        if value.dtype != values[0].dtype:
            return reject(f"{name} of {values[0].dtype} with {value.dtype} is not done", at=value)
    return None


def check_shapes(m: Match, values: Sequence[Value]) -> Any:
    """Refuse operands whose shapes are not known to fit the result when the model is compiled."""
    for value in (*values, m.out):
        if value.shape is None:
            return reject("the rank of a tensor is not known", at=value)
    for value in values:
        if not can_broadcast(value.shape or (), m.out.shape or ()):
            return reject("whether an operand is broadcast is known only at run time", at=value)
    return None


def emit_formula(
    m: Match,
    name: str,
    formula: Formula,
    values: Sequence[Value],
    *,
    dtype: str,
    shapes: Sequence[Sequence[Any]] | None = None,
) -> str:
    """C statements for a formula over broadcast operands; `dtype` is the one it is computed in."""
    expression = formula.expression(m.root.attrs, dtype)
    add_helpers(m, expression)
    suffix = formula.name(m.root.attrs)
    function = name.rpartition(".")[2] + (f"_{suffix}" if suffix else "")
    return emit_broadcast(m, function, expression, values, shapes=shapes, grain=grain_of(expression))
