"""Short ways to write cases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from byoc.conformance.case import Case, Operand, Size, Step

Shape = tuple[Size, ...]
# One larger than the first, so that what is kept of that one shows; and those that are easily forgotten.
SIZES: tuple[Mapping[str, int], ...] = ({"n": 5, "m": 3}, {"n": 33, "m": 17}, {"n": 1, "m": 1}, {"n": 0, "m": 2})


def one(
    op: str,
    what: str,
    *operands: Operand,
    threads: bool = False,
    sizes: tuple[Mapping[str, int], ...] = ({},),
    results: tuple[str, ...] = (),
    **attrs: Any,
) -> Case:
    """A case of one op on these operands."""
    step = Step(op, tuple(o.name for o in operands), attrs)
    distinct = tuple(dict.fromkeys(operands))
    return Case(f"{op}/{what}", distinct, (step,), results, sizes, threads)


def t(
    shape: Shape, dtype: str = "float32", fill: str = "normal", *, name: str = "x", constant: bool = False
) -> Operand:
    """A tensor."""
    return Operand(name, shape, dtype, fill, constant)


def w(shape: Shape, dtype: str = "float32", fill: str = "normal", *, name: str = "w") -> Operand:
    """A constant."""
    return Operand(name, shape, dtype, fill, True)


def y(shape: Shape, dtype: str = "float32", fill: str = "normal") -> Operand:
    """A second tensor."""
    return Operand("y", shape, dtype, fill)
