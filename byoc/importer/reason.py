"""Why a node cannot be imported, in one line, from what TVM or NumPy raised."""

from __future__ import annotations

import re

_TOO_LARGE = re.compile(r"Literal value (-?\d+) exceeds range of (\w+)")


def plain_reason(error: BaseException) -> str:
    """The one line of an error's text that says what is wrong, without file names and stack frames."""
    if isinstance(error, OverflowError):
        return "a number in it does not fit 64 bits"
    too_large = _TOO_LARGE.search(str(error))
    if too_large:
        return f"a number in it, {too_large[1]}, does not fit {too_large[2]}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = [
        line for line in lines if not line.startswith(("File ", "Traceback", "at ", "^", "...")) and "0x" not in line
    ]
    text = lines[-1] if lines else type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
