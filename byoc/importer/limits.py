"""How large a model may become at import, so that a few bytes of a file cost neither gigabytes nor hours here.

What a sound model needs is far below these limits.  ``BYOC_LIMITS`` raises them: ``tensor_gib=64,nodes=100000``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import onnx

from byoc.errors import LimitError, UsageError, did_you_mean
from byoc.importer.structure import subgraphs

VARIABLE = "BYOC_LIMITS"
_GIB = 1 << 30


@dataclass(frozen=True)
class Limits:
    """The most that an import makes of a model.

    Attributes
    ----------
    tensor_gib: GiB of a tensor, as far as its extents are known at import (symbolic ones count as 1).
    table_gib: GiB of a table that a lowering works out at import, such as the positions that a window reads.
    folded_gib: GiB of everything together that is computed at import and is no mere view of a weight.
    nodes: nodes converted in bodies of loops and functions, each time that they are converted.
    depth: subgraphs and functions inside each other.
    terms: numbers, symbols and operations in the formula of an extent.
    """

    tensor_gib: int = 16
    table_gib: int = 1
    folded_gib: int = 1
    nodes: int = 20_000
    depth: int = 32
    terms: int = 512

    @classmethod
    def from_environment(cls) -> Limits:
        """The limits, with those that ``BYOC_LIMITS`` names.  Raises :class:`UsageError` if that is malformed."""
        text = os.environ.get(VARIABLE, "")
        known = [field.name for field in fields(cls)]
        found = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, _, value = part.partition("=")
            if name not in known:
                raise UsageError(f'{VARIABLE} names a limit "{name}"', "", did_you_mean(name, known))
            if not value.isdecimal() or int(value) < 1:
                raise UsageError(f'{VARIABLE} sets {name} to "{value}"', "", "give a whole number from 1 on.")
            found[name] = int(value)
        return replace(cls(), **found)

    def check_bytes(self, name: str, count: int, what: str) -> None:
        """Raise :class:`LimitError` if ``count`` bytes are beyond the limit ``name``, one of those in GiB."""
        most = getattr(self, name)
        if count > most * _GIB:
            raise exceeded(name, most, f"{what} {_gib(count)} GiB", "GiB")

    def check_count(self, name: str, count: int, what: str) -> None:
        """Raise :class:`LimitError` if ``count`` is beyond the limit ``name``."""
        most = getattr(self, name)
        if count > most:
            raise exceeded(name, most, what)

    def check_depth(self, model: onnx.ModelProto) -> None:
        """Refuse subgraphs inside each other that are deeper than the limit."""
        for nodes in (model.graph.node, *(function.node for function in model.functions)):
            for depth in _depths(nodes):
                self.check_count("depth", depth, "the model has graphs inside each other, deeper than it may")


def exceeded(name: str, most: int, what: str, unit: str = "") -> LimitError:
    """The error for what is beyond the limit ``name``."""
    return LimitError(
        what,
        f"the limit {name} is {most}{' ' if unit else ''}{unit}: byoc does not let a file use up the machine",
        f"if the model is meant to be so large, set {VARIABLE}={name}=N in the environment.",
    )


def _gib(count: int) -> str:
    return f"{count / _GIB:.3g}" if count < 1 << 1000 else "more than 1e300"


def _depths(nodes: object) -> Iterator[int]:
    waiting = [(nodes, 0)]
    while waiting:
        inside, depth = waiting.pop()
        yield depth
        waiting += [(graph.node, depth + 1) for node in inside for _, graph in subgraphs(node)]  # type: ignore[attr-defined]
