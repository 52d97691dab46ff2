"""Colours and patterns of owners; any two can be told apart without seeing colours.

The colours are those of Okabe, Ito 2008 ("Color Universal Design"); overlays use cividis (Nunez et al. 2018).
"""

from __future__ import annotations

from dataclasses import dataclass

PATTERNS = ("diagonal", "dots", "horizontal", "cross", "vertical", "back-diagonal")
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#b8a800")

SCALE = ("#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838")


@dataclass(frozen=True)
class Mark:
    """How an owner is drawn."""

    colour: str
    pattern: str


HOST_MARK = Mark("#8a8f98", "plain")


def mark(position: int) -> Mark:
    """The mark of the target at this position of the plan; colours and patterns go round at different lengths."""
    return Mark(_COLOURS[position % len(_COLOURS)], PATTERNS[position % len(PATTERNS)])
