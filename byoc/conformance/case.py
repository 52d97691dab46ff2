"""What a conformance case is: a small graph as data, the values it is fed with, and the probes it undergoes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Size = int | str  # a str is a symbolic dimension


@dataclass(frozen=True)
class Operand:
    """A tensor that a case starts from.

    `fill` says with what: see :mod:`byoc.conformance.fill`.  `constant` ones are part of the model, a `state` lives
    across calls, zero at first, and an op of the case updates it in place.
    """

    name: str
    shape: tuple[Size, ...]
    dtype: str = "float32"
    fill: str = "normal"
    constant: bool = False
    state: bool = False


@dataclass(frozen=True)
class Step:
    """One op: its Relax name, the operands or earlier steps that it reads, its attributes as ``relax.op`` takes them.

    The k-th step is called ``s<k>``; ``s<k>.<i>`` is its i-th result where it has several.
    """

    op: str
    inputs: tuple[str, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """One thing that a codegen may get wrong.

    Attributes
    ----------
    name: ``<op or pattern>/<what is special>``.
    results: names of the values that are returned; the last step if empty.
    sizes: values of the symbolic dimensions, one run for each entry; with states these runs are calls in a row.
    threads: also run it from several threads at once.
    """

    name: str
    operands: tuple[Operand, ...]
    steps: tuple[Step, ...]
    results: tuple[str, ...] = ()
    sizes: tuple[Mapping[str, int], ...] = ({},)
    threads: bool = False

    @property
    def subject(self) -> str:
        """The op or pattern that the case is about."""
        return self.name.partition("/")[0]

    @property
    def states(self) -> tuple[Operand, ...]:
        """The operands that live across calls."""
        return tuple(operand for operand in self.operands if operand.state)

    @property
    def returned(self) -> tuple[str, ...]:
        """Names of the values that the case returns."""
        return self.results or (f"s{len(self.steps) - 1}",)
