"""What the importer knows about a value: all of it, its elements as symbols, or only its type; and lists of values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import tvm
from tvm import relax, sym, tirx

from byoc.importer.limits import Limits, exceeded

Dim: TypeAlias = "int | tvm.ir.Expr"  # an extent: a number, or an expression over symbolic extents


def constant(array: np.ndarray | np.generic) -> relax.Expr:
    """A Relax constant of the array's own dtype."""
    return Known(np.asarray(array)).constant


class Known:
    """A value known at import: its array, and (made once, on demand) its Relax constant."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self._constant: relax.Expr | None = None

    @property
    def constant(self) -> relax.Expr:
        if self._constant is None:
            array = np.ascontiguousarray(self.array).reshape(self.array.shape)  # ascontiguousarray makes scalars 1-D
            self._constant = relax.const(tvm.runtime.tensor(array))
        return self._constant


@dataclass(frozen=True)
class Symbolic:
    """A small integer tensor (rank 0 or 1) whose elements are expressions over symbolic extents.

    ``elements`` is a numpy array of objects; ``dtype`` is the ONNX value's own ("int64", "int32").
    """

    elements: np.ndarray
    dtype: str = "int64"


@dataclass(frozen=True)
class ValueList:
    """An ONNX sequence: how many elements it has is known at import."""

    elements: tuple[Value, ...]


@dataclass(frozen=True)
class Nothing:
    """An ONNX optional that holds nothing; one that holds a value is that value."""


Value: TypeAlias = "Known | Symbolic | relax.Expr | ValueList | Nothing"


class UnequalSymbolsError(Exception):
    """Two extents of the inputs that have different names must be equal; ``name`` is to be replaced by ``other``."""

    def __init__(self, name: str, other: str) -> None:
        super().__init__(f"{name} is {other}")
        self.name, self.other = name, other


class Extents:
    """Arithmetic over extents.

    Decisions hold for every size, 0 included; only where a slice counts from the end of a dimension, that dimension is
    taken to have at least one element, and its symbol is noted in :attr:`assumed_nonempty`.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._terms = (limits or Limits()).terms
        self._certain = sym.Analyzer()
        self._usual = sym.Analyzer()
        self.assumed_nonempty: set[str] = set()
        self._inputs: dict[tirx.Var, str] = {}  # symbols of the model's inputs, in order, and what the model calls them

    def declare_input(self, symbol: tirx.Var, name: str) -> None:
        """``symbol`` stands for the dimension that the model calls ``name``."""
        self.declare(symbol, usual_least=1)
        self._inputs[symbol] = name

    @property
    def open_sizes(self) -> list[str]:
        """What the model calls the sizes of its inputs that it leaves open, in order."""
        return list(self._inputs.values())

    def unify(self, left: Dim, right: Dim) -> None:
        """Raise :class:`UnequalSymbolsError` if one side is an input's symbol that can stand for the other side."""
        order = list(self._inputs)
        for one, other in ((right, left), (left, right)):
            if one not in self._inputs:
                continue
            others = (
                {other}
                if isinstance(other, tirx.Var)
                else set(tirx.analysis.undefined_vars(other))
                if not isinstance(other, int)
                else set()
            )
            if one in others or not others <= set(order):
                continue
            if isinstance(other, tirx.Var) and order.index(other) > order.index(one):
                continue
            raise UnequalSymbolsError(self._inputs[one], str(other) if isinstance(other, int) else self._text(other))

    def _text(self, dim: Dim) -> str:
        from byoc.dim import expression_text

        return self._inputs[dim] if isinstance(dim, tirx.Var) else expression_text(dim)

    def declare(self, symbol: tirx.Var, *, usual_least: int = 0) -> None:
        """``symbol`` is an extent, usually of at least ``usual_least`` elements."""
        self._certain.update(symbol, sym.ConstIntBound(0, sym.ConstIntBound.POS_INF))
        self._usual.update(symbol, sym.ConstIntBound(usual_least, sym.ConstIntBound.POS_INF))

    def simplify(self, dim: Dim) -> Dim:
        if isinstance(dim, int | np.integer):
            return int(dim)
        if not isinstance(dim, tirx.Var) and _has_more_terms(dim, self._terms):
            raise exceeded("terms", self._terms, f"the formula of an extent has more than {self._terms} terms")
        simple = self._certain.simplify(dim)
        return int(simple.value) if isinstance(simple, tirx.IntImm) else simple

    def equal(self, left: Dim, right: Dim) -> bool | None:
        """Whether the two are equal; None if it depends on the symbols."""
        difference = self.simplify(left - right)
        if isinstance(difference, int):
            return difference == 0
        bound = self._certain.const_int_bound(difference)
        return False if bound.min_value > 0 or bound.max_value < 0 else None

    def at_least(self, left: Dim, right: Dim, *, usual: bool = False) -> bool | None:
        """Whether ``left >= right``; None if it depends on the symbols.  ``usual``: for non-empty dimensions."""
        difference = self.simplify(left - right)
        if isinstance(difference, int):
            return difference >= 0
        decided = _sign(self._certain.const_int_bound(difference))
        if decided is None and usual:
            decided = _sign(self._usual.const_int_bound(difference))
            if decided is not None:
                self.assumed_nonempty |= {str(symbol.name) for symbol in tirx.analysis.undefined_vars(difference)}
        return decided

    def least_product(self, dims: Sequence[Dim]) -> int:
        """The product of the extents where every symbol is 1; at least 0 for any that may be negative."""
        total = 1
        for dim in dims:
            if isinstance(dim, tirx.IntImm):
                total *= int(dim.value)
            elif isinstance(dim, int):
                total *= dim
            elif not isinstance(dim, tirx.Var):
                total *= max(1, int(self._usual.const_int_bound(dim).min_value))
        return max(0, total)

    def product(self, dims: Sequence[Dim]) -> Dim:
        total: Dim = 1
        for dim in dims:
            total = total * dim
        return self.simplify(total)

    def divide(self, left: Dim, right: Dim) -> Dim | None:
        """``left / right`` rounded towards zero as ONNX has it; None if ``right`` may be 0."""
        if isinstance(left, int) and isinstance(right, int):
            if right == 0:
                return None
            quotient = abs(left) // abs(right)
            return quotient if (left < 0) == (right < 0) else -quotient
        if not self.at_least(right, 1):
            return None
        return self.simplify(tirx.floordiv(left, right) if self.at_least(left, 0) else tirx.truncdiv(left, right))


def _has_more_terms(dim: tvm.ir.Expr, most: int) -> bool:
    """Whether the expression, written out, has more than ``most`` numbers, symbols and operations."""
    waiting, count = [dim], 0
    while waiting:
        count += 1
        if count > most:
            return True
        term = waiting.pop()
        waiting += [part for name in ("a", "b") if (part := getattr(term, name, None)) is not None]
    return False


def _sign(bound: sym.ConstIntBound) -> bool | None:
    if bound.min_value >= 0:
        return True
    return False if bound.max_value < 0 else None
