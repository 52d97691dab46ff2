"""Complete texts that commands print and files that they write, as they are meant to be."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "e2e" / "golden"


def golden(name: str) -> str:
    """The text of ``tests/e2e/golden/NAME``."""
    return (FOLDER / name).read_text(encoding="utf-8")
