"""The importer's operators: one lowering per (domain, operator, range of opset versions), or a reason to refuse it.

The importer's own lowerings, in `byoc.importer.lowerings`, and those of users stand in one table.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from byoc.errors import UsageError

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
    users: bool = False  # registered from outside the importer


_OWN = "byoc.importer."
_ENTRIES: dict[tuple[str, str], list[Entry]] = {}
_REFUSED: dict[tuple[str, str], str] = {}


def register_lowering(*operators: str, domain: str = "", since: int = 1) -> Callable[[Lowering], Lowering]:
    """Teach the importer operators: decorate a function that gives the results of a node in terms of Relax.

    The function is given a :class:`byoc.importer.node_view.NodeView` and returns a Relax expression, or a list with one
    entry for each output of the node (None for an output that it leaves out).  An attribute that it does not read, and
    that is not at its default, makes the import fail; so does :meth:`NodeView.refuse`, with the reason given.

    Raises :class:`UsageError` for a version below 1 or no operator.

    Parameters
    ----------
    operators: names, such as ``"GridSample"``.
    domain: of the operators; ``""`` is ONNX's own.
    since: the first opset version of the domain that the function holds for.  It takes the place of what byoc itself
        has for that version and later ones.
    """
    if not operators or since < 1:
        raise UsageError(
            f"a lowering is registered for {list(operators)} since opset version {since}",
            "it needs the name of an operator, and a version from 1 on",
            'write @register_lowering("Name", domain="com.example", since=1)',
        )

    def register(lower: Lowering) -> Lowering:
        users = not lower.__module__.startswith(_OWN)
        for operator in operators:
            entries = _ENTRIES.setdefault((domain, operator), [])
            if users:
                entries[:] = [e for e in entries if e.since < since or (e.users and e.since > since)]
            elif any(entry.since == since for entry in entries):
                raise ValueError(f"{domain or 'ai.onnx'}.{operator} since {since} has two lowerings")
            entries.append(Entry(since, lower, users))
            entries.sort(key=lambda entry: entry.since)
            if users:
                _REFUSED.pop((domain, operator), None)
        return lower

    return register


lowers = register_lowering  # how the importer's own modules call it


def refuse_operator(operator: str, why: str, *, domain: str = "") -> None:
    """Refuse every use of ``operator`` with the reason ``why``."""
    _REFUSED[domain, operator] = why


def find_lowering(domain: str, operator: str, version: int) -> Lowering | None:
    """The newest lowering that is not newer than ``version``; None: there is none."""
    entry = _find(domain, operator, version)
    return entry.lower if entry else None


def is_users(domain: str, operator: str, version: int) -> bool:
    """Whether that lowering was registered from outside; it comes before functions and before folding."""
    entry = _find(domain, operator, version)
    return entry is not None and entry.users


def _find(domain: str, operator: str, version: int) -> Entry | None:
    suitable = [entry for entry in _ENTRIES.get((domain, operator), ()) if entry.since <= version]
    return suitable[-1] if suitable else None


def has_lowerings_of(module: str) -> bool:
    """Whether a module of that name registered a lowering."""
    return any(e.users and e.lower.__module__ == module for entries in _ENTRIES.values() for e in entries)


def registered() -> dict[tuple[str, str], tuple[int, ...]]:
    """Per domain and operator, the opset versions from which lowerings hold."""
    return {key: tuple(entry.since for entry in entries) for key, entries in _ENTRIES.items() if entries}


def refused() -> dict[tuple[str, str], str]:
    """Per domain and operator, why it is refused."""
    return dict(_REFUSED)


def digest_of_users_lowerings() -> str | None:
    """SHA-256 of the files that define them, "" if there are none; None if one is defined in no file."""
    files = {inspect.getsourcefile(e.lower) or "" for entries in _ENTRIES.values() for e in entries if e.users}
    if not all(Path(file).is_file() for file in files):
        return None
    digest = hashlib.sha256(b"".join(Path(file).read_bytes() for file in sorted(files)))
    return digest.hexdigest() if files else ""


def reason_to_refuse(domain: str, operator: str) -> str:
    """Why the operator is refused; "" if nobody said."""
    return _REFUSED.get((domain, operator), "")
