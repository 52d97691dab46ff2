"""The bits of a tensor read as another type of the same width."""

from __future__ import annotations

from typing import Any

from tvm import relax, te, tirx

from byoc.ops.integer import attributes
from byoc.ops.register import byoc_op


def _type(call: Any) -> Any:
    """``byoc.bitcast(x)`` with the attribute ``dtype``."""
    return relax.TensorType(call.args[0].ty.shape, attributes(call)["dtype"])


@byoc_op("bitcast", ["x"], infer=_type)
def bitcast(builder: Any, call: Any) -> Any:
    """The same bits, as ``dtype``."""
    dtype = attributes(call)["dtype"]

    def read(x: Any) -> Any:
        return te.compute(x.shape, lambda *index: tirx.reinterpret(dtype, x(*index)), name="bitcast")

    return builder.call_te(read, call.args[0], primfunc_name_hint="bitcast")
