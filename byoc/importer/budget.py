"""What an import has used up of its limits."""

from __future__ import annotations

import math

from tvm import relax, tirx

from byoc.artifact.dtypes import numpy_dtype
from byoc.importer.limits import Limits
from byoc.importer.values import Extents

MOST_DIMENSIONS = 64


class Budget:
    """Counts what is converted and computed; every method raises :class:`LimitError` beyond its limit."""

    def __init__(self, limits: Limits, extents: Extents) -> None:
        self._limits = limits
        self._extents = extents
        self._nodes = 0
        self._folded = 0

    def tensor(self, kind: relax.Type, what: str) -> None:
        """A tensor of that type, or a tuple of tensors.  Raises ValueError for a negative extent."""
        if isinstance(kind, relax.TupleType):
            for field in kind.fields:
                self.tensor(field, what)
        elif isinstance(kind, relax.TensorType) and isinstance(kind.shape, relax.ShapeExpr):
            extents = list(kind.shape.values)
            if any(isinstance(extent, tirx.IntImm) and int(extent.value) < 0 for extent in extents):
                raise ValueError(f"{what} has a negative extent: [{', '.join(map(str, extents))}]")
            if len(extents) > MOST_DIMENSIONS:
                raise ValueError(f"{what} has {len(extents)} dimensions; NumPy takes {MOST_DIMENSIONS} at most")
            size = self._extents.least_product(extents) * numpy_dtype(str(kind.dtype.dtype)).itemsize
            self._limits.check_bytes("tensor_gib", size, f"{what} takes")

    def table(self, *extents: int, what: str) -> None:
        """A table of that shape, which is worked out at import."""
        self._limits.check_bytes("table_gib", 8 * math.prod(extents), f"{what} would take")

    def folded(self, nbytes: int) -> None:
        """So many more bytes, computed at import."""
        self._folded += nbytes
        self._limits.check_bytes("folded_gib", self._folded, "what is computed at import comes to")

    def nodes(self, count: int, what: str) -> None:
        """So many more nodes converted in the body of a loop or a function."""
        self._nodes += count
        most = self._limits.nodes
        self._limits.check_count("nodes", self._nodes, f"{what} more than {most} nodes")

    def depth(self, depth: int) -> None:
        """Function calls inside each other."""
        self._limits.check_count("depth", depth, "functions call each other, deeper than they may")
