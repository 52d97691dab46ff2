"""The bits of a tensor as another type."""

from __future__ import annotations

from byoc.artifact.dtypes import numpy_dtype
from byoc.importer.node_view import NodeView
from byoc.importer.table import lowers
from byoc.importer.values import Known, Value
from byoc.ops import call
from byoc.ops.bitcast import bitcast


@lowers("BitCast")
def _bit_cast(view: NodeView) -> Value:
    source, target = view.dtype(0), view.dtype_attribute("to")
    if target is None or _bits(source) != _bits(target) or "bool" in (source, target):
        view.refuse(f"it reads {source} as {target}: the importer takes numbers of equal width")
    if source == target:
        return view.value(0)
    known = view.known(0)
    if known is not None:
        return Known(known.view(numpy_dtype(target)))
    return call(bitcast, [view.tensor(0)], {"dtype": target})


def _bits(dtype: str) -> str:
    return "8" if dtype.startswith("float8") else dtype.lstrip("abcdefghijklmnopqrstuvwxyz")
