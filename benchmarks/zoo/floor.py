"""The floor: how long the bare primitives of an artifact's partitions take, each timed by itself in the same process.

A runtime module gives it through a function of its own beside each partition's symbol:
``<symbol>_floor(repeats: int) -> float``, seconds: the sum over the partition's ops of the quickest primitive for
each, at its best in ``repeats`` passes over them.  It is called after the first run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byoc import Session

SUFFIX = "_floor"


def floor_ms(session: Session, repeats: int) -> float | None:
    """The sum over the partitions; None if one of them gives none.  What the host computes is not in it."""
    library = session._library  # the floor is a matter of this benchmark, not of the public API
    if library is None or not session.manifest.partitions:
        return None
    total = 0.0
    for partition in session.manifest.partitions:
        try:
            function = library.get_function(partition.symbol + SUFFIX, query_imports=True)
        except AttributeError:
            return None
        total += float(function(repeats))
    return total * 1e3
