"""Measured numbers to lay over a picture: seconds from ``byoc profile --json``, errors from ``byoc verify --json``.

Only what is needed is read, and anything else in the file is let be::

    {"partitions": [{"symbol": "npu_main_0", "seconds": 1e-3}], "ops": [{"node": "/Softmax", "seconds": 2e-4}]}

A partition is named by its `symbol`; an op by its `node`, or by `ops`, indices into the function that the document
names as `entry`.  Ops that the host computes in one kernel each show the number of that kernel.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
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
    indices: by function and index of the op.
    """

    quantity: str
    partitions: Mapping[str, float] = field(default_factory=dict)
    ops: Mapping[str, float] = field(default_factory=dict)
    indices: Mapping[tuple[str, int], float] = field(default_factory=dict)


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
    if not (overlay.partitions or overlay.ops or overlay.indices):
        raise UsageError(
            f'{path} has no "{quantity}" of any partition or op',
            'it is expected as {"partitions": [{"symbol": ..., "' + quantity + '": ...}], "ops": [{"node": ...}]}',
            f"give the output of {_verb(quantity)}",
        )
    return overlay


def overlay_of(document: Any, quantity: str) -> Overlay:
    """The numbers in a JSON document; those of one name are added up for seconds, else the largest counts."""
    document = document if isinstance(document, dict) else {}
    entry = str(document.get("entry", "main"))
    partitions: dict[Any, float] = {}
    ops: dict[Any, float] = {}
    indices: dict[Any, float] = {}
    for row, number in _measured_rows(document, "partitions", quantity):
        _note(partitions, row.get("symbol"), number, quantity)
    for row, number in _measured_rows(document, "ops", quantity):
        _note(ops, row.get("node"), number, quantity)
        for index in row["ops"] if isinstance(row.get("ops"), list) else ():
            _note(indices, (entry, index), number, quantity)
    return Overlay(quantity, partitions, ops, indices)


def _measured_rows(document: dict[str, Any], kind: str, quantity: str) -> Iterator[tuple[dict[str, Any], float]]:
    rows = document.get(kind)
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict):
            number = next((n for key in _KEYS[quantity] if (n := _number(row.get(key))) is not None), None)
            if number is not None:
                yield row, number


def _note(found: dict[Any, float], name: Any, number: float, quantity: str) -> None:
    if name:
        before = found.get(name, 0.0)
        found[name] = before + number if quantity == "seconds" else max(before, number)


def _number(value: Any) -> float | None:
    """A finite number; what JSON cannot say otherwise comes as ``"inf"`` or ``"nan"`` and counts as infinite."""
    if value in ("inf", "nan", "Infinity", "NaN"):
        return math.inf
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else math.inf


def _verb(quantity: str) -> str:
    return '"byoc profile --json"' if quantity == "seconds" else '"byoc verify --json"'
