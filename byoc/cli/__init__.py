"""The command line.  Each verb is a module of its own, imported only when it is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``byoc`` with these arguments (the process's own if None) and return its exit code."""
    from byoc.cli.guard import guarded

    return guarded(list(sys.argv[1:] if arguments is None else arguments))
