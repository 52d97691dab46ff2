"""``byoc.swiglu(gate, up)``: the gated activation of Llama's feed-forward layer."""

from __future__ import annotations

from typing import Any

from tvm import relax

from byoc.ops.register import byoc_op, call


@byoc_op("swiglu", ["gate", "up"], infer=lambda c: c.args[0].ty)
def swiglu(builder: relax.BlockBuilder, c: relax.Call) -> Any:
    """``gate * sigmoid(gate) * up``, element by element (GLU Variants, 2002.05202, section 2)."""
    gate, up = c.args
    return relax.op.multiply(relax.op.multiply(gate, relax.op.sigmoid(gate)), up)


def gated(gate: Any, up: Any) -> relax.Call:
    """The call."""
    return call(swiglu, [gate, up])
