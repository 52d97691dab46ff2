"""Tables and quantities in plain text."""

from __future__ import annotations

from collections.abc import Sequence


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], right: str = "") -> str:
    """Columns aligned with two spaces between; `right` has an ``r`` for each column that is aligned to the right.

    ``table(["op", "count"], [["add", 3]], right="lr")``.  Cells are kept verbatim, on one line each;
    what a terminal would obey is written as its escape.
    """
    cells = [[_printable(" ".join(str(cell).split())) for cell in row] for row in (headers, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    sides = right.ljust(len(headers), "l")

    def line(row: Sequence[str]) -> str:
        padded = (c.rjust(w) if s == "r" else c.ljust(w) for c, w, s in zip(row, widths, sides, strict=True))
        return "  ".join(padded).rstrip()

    return "\n".join([line(cells[0]), "  ".join("-" * width for width in widths), *map(line, cells[1:])])


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def flops_text(flops: float) -> str:
    """``12.3 MFLOP``."""
    return _scaled(flops, 1000.0, ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP"))


def bytes_text(nbytes: float) -> str:
    """``1.5 MiB``."""
    return _scaled(nbytes, 1024.0, ("B", "KiB", "MiB", "GiB", "TiB"))


def _scaled(value: float, step: float, units: Sequence[str]) -> str:
    exponent = 0
    while value >= step and exponent < len(units) - 1:
        value, exponent = value / step, exponent + 1
    digits = f"{value:.0f}" if exponent == 0 or value >= 100 else f"{value:.3g}"
    return f"{digits} {units[exponent]}"
