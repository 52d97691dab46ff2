"""The definition of every op that byoc knows, in numpy.

Floats are computed in float64 and not rounded in between: an oracle says what is right, not what some hardware gives.
NaN passes through maxima, minima and clamps.  `definition` finds an op in the families' tables.
"""

from __future__ import annotations

from functools import cache

from byoc.conformance.oracle.define import Definition
from byoc.errors import UsageError


@cache
def definitions() -> dict[str, Definition]:
    """Every op's definition by its Relax name."""
    from byoc.conformance.oracle import (
        activation,
        create,
        elementwise,
        index,
        integer,
        language,
        linear,
        normalize,
        pool,
        quantize,
        reduce,
        shape,
    )
    from byoc.conformance.oracle import resize as resizing

    families = (
        elementwise, activation, shape, create, index, reduce, normalize, linear, pool, quantize, resizing, language,
        integer,
    )  # fmt: skip
    return {name: defined for family in families for name, defined in family.OPS.items()}


def definition(op: str) -> Definition:
    """The definition of an op.  Raises :class:`UsageError` for one that has none."""
    try:
        return definitions()[op]
    except KeyError:
        raise UsageError(f'no oracle defines the op "{op}"', "", "add it in byoc/conformance/oracle") from None


__all__ = ["Definition", "definition", "definitions"]
