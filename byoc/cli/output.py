"""Results on stdout: one JSON document, or plain text."""

from __future__ import annotations

import json
import math
from typing import Any

import click


def print_json(document: Any) -> None:
    """Print one JSON document; numbers that JSON lacks become the strings ``nan``, ``inf``, ``-inf``."""
    click.echo(json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
