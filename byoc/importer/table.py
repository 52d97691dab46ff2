"""The importer's operators: one lowering per (domain, operator, range of opset versions), or a reason to refuse it.

To teach the importer an operator, write ``@lowers("Name")`` over a function from a :class:`NodeView` to its results, in
one of the ``lower_*`` modules; to refuse one clearly, call :func:`refuse_operator`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from byoc.importer.node_view import NodeView
    from byoc.importer.values import Value

Results: TypeAlias = "Value | Sequence[Value | None]"
Lowering: TypeAlias = "Callable[[NodeView], Results]"


@dataclass(frozen=True)
class Entry:
    """``lower`` holds for opset versions ``since`` up to, and without, the next entry's ``since``."""

    since: int
    lower: Lowering


_ENTRIES: dict[tuple[str, str], list[Entry]] = {}
_REFUSED: dict[tuple[str, str], str] = {}


def lowers(*operators: str, domain: str = "", since: int = 1) -> Callable[[Lowering], Lowering]:
    """Register the decorated function for ``operators`` of ``domain`` from opset version ``since`` on."""

    def register(lower: Lowering) -> Lowering:
        for operator in operators:
            entries = _ENTRIES.setdefault((domain, operator), [])
            if any(entry.since == since for entry in entries):
                raise ValueError(f"{domain or 'ai.onnx'}.{operator} since {since} has two lowerings")
            entries.append(Entry(since, lower))
            entries.sort(key=lambda entry: entry.since)
        return lower

    return register


def refuse_operator(operator: str, why: str, *, domain: str = "") -> None:
    """Refuse every use of ``operator`` with the reason ``why``."""
    _REFUSED[domain, operator] = why


def find_lowering(domain: str, operator: str, version: int) -> Lowering | None:
    """The newest lowering that is not newer than ``version``; None: there is none."""
    suitable = [entry for entry in _ENTRIES.get((domain, operator), ()) if entry.since <= version]
    return suitable[-1].lower if suitable else None


def reason_to_refuse(domain: str, operator: str) -> str:
    """Why the operator is refused; "" if nobody said."""
    return _REFUSED.get((domain, operator), "")
