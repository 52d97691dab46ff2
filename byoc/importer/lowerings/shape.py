"""Operators that read, or are told, shapes: symbolic extents stay symbolic."""

from __future__ import annotations

import numpy as np
from tvm import relax

from byoc.importer.builder import symbolic
from byoc.importer.node_view import NodeView
from byoc.importer.table import lowers
from byoc.importer.values import Value


@lowers("Shape")
def _shape(view: NodeView) -> Value:
    start, end = view.attribute("start", 0), view.attribute("end", None)
    dims = view.builder.shape_of(view.value(0))
    if dims is not None:
        elements = np.empty(len(dims), dtype=object)
        elements[:] = dims
        return symbolic(elements[start:end])
    whole = view.emit(relax.op.shape_to_tensor(view.emit(relax.op.shape_of(view.tensor(0)))))
    if start == 0 and end is None:
        return whole
    rank = view.rank(0)
    first, last, _ = slice(start, end).indices(rank)
    return relax.op.strided_slice(whole, axes=[0], begin=[first], end=[max(first, last)])


@lowers("Size")
def _size(view: NodeView) -> Value:
    dims = view.shape(0)
    total = np.empty((), dtype=object)
    total[()] = view.extents.product(dims)
    return symbolic(total)
