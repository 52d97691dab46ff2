"""What one family of ops contributes to the codegen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from byoc import Match


@dataclass(frozen=True)
class Kernel:
    """Patterns that share one check and one emitter.

    Attributes
    ----------
    patterns: pattern by name; names are unique in the codegen; earlier kernels win where two could take an op.
    check: returns ``None`` to accept a match, ``reject(...)`` to refuse it.
    emit: C statements of a match that `check` accepted.
    cost: seconds that a match takes, or ``None`` for the roofline.
    """

    patterns: Mapping[str, Any]
    check: Callable[[Match], Any]
    emit: Callable[[Match], Any]
    cost: Callable[[Match], float | None] | None = None


def kernels_by_pattern(families: Iterable[Iterable[Kernel]]) -> dict[str, Kernel]:
    """Every kernel under the name of each of its patterns, in order of preference.

    Raises :class:`ValueError` when two kernels name a pattern alike.
    """
    table: dict[str, Kernel] = {}
    for family in families:
        for kernel in family:
            for name in kernel.patterns:
                if name in table:
                    raise ValueError(f'two kernels of csource call a pattern "{name}"')
                table[name] = kernel
    return table
