"""Measured numbers to lay over a picture: seconds from ``byoc profile --json``, errors from ``byoc verify --json``.

Only what is needed is read, and anything else in the file is let be::

    {"partitions": [{"symbol": "npu_main_0", "seconds": 1e-3}], "ops": [{"node": "/Softmax", "seconds": 2e-4}]}

A partition is named by its `symbol`, an op by its `node` (or, where the model gives none, by ``"%4 add"``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from byoc.errors import UsageError

_KEYS = {"seconds": ("seconds",), "error": ("error", "max_rel", "max_abs")}


@dataclass(frozen=True)
class Overlay:
    """One number for each partition and op that was measured.

    Attributes
    ----------
    quantity: ``"seconds"`` or ``"error"``.
    partitions: by symbol.
    ops: by node name.
    """

    quantity: str
    partitions: Mapping[str, float] = field(default_factory=dict)
    ops: Mapping[str, float] = field(default_factory=dict)


def read_overlay(path: str | Path, quantity: str) -> Overlay:
    """Read an overlay from a JSON file.  Raises :class:`UsageError` if it is none or measures nothing of the kind."""
    path = Path(path)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist", todo="check the path") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is not JSON", todo=f"give the output of {_verb(quantity)}") from None
    overlay = overlay_of(document, quantity)
    if not overlay.partitions and not overlay.ops:
        raise UsageError(
            f'{path} has no "{quantity}" of any partition or op',
            'it is expected as {"partitions": [{"symbol": ..., "' + quantity + '": ...}], "ops": [{"node": ...}]}',
            f"give the output of {_verb(quantity)}",
        )
    return overlay


def overlay_of(document: Any, quantity: str) -> Overlay:
    """The numbers in a JSON document; those of one name are added up for seconds, else the largest counts."""
    return Overlay(
        quantity, _numbers(document, "partitions", "symbol", quantity), _numbers(document, "ops", "node", quantity)
    )


def _numbers(document: Any, kind: str, name: str, quantity: str) -> dict[str, float]:
    rows = document.get(kind) if isinstance(document, dict) else None
    found: dict[str, float] = {}
    for row in rows if isinstance(rows, list) else []:
        key = row.get(name) if isinstance(row, dict) else None
        number = next((n for k in _KEYS[quantity] if (n := _number(row.get(k))) is not None), None) if key else None
        if number is not None:
            before = found.get(str(key), 0.0)
            found[str(key)] = before + number if quantity == "seconds" else max(before, number)
    return found


def _number(value: Any) -> float | None:
    """A finite number; what JSON cannot say otherwise comes as ``"inf"`` or ``"nan"`` and counts as infinite."""
    if value in ("inf", "nan", "Infinity", "NaN"):
        return math.inf
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else math.inf


def _verb(quantity: str) -> str:
    return '"byoc profile --json"' if quantity == "seconds" else '"byoc verify --json"'
