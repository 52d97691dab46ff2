"""``byoc.kv_join(past, new, starts, length)``: keys or values of the past with new ones behind, as a new tensor."""

from __future__ import annotations

from typing import Any

from tvm import relax, te, tirx

from byoc.ops.register import byoc_op, call


def _joined_type(c: relax.Call) -> Any:
    batch, heads, _, dim = c.args[1].ty.shape.values
    return relax.TensorType([batch, heads, c.args[3].values[0], dim], c.args[1].ty.dtype)


@byoc_op("kv_join", ["past", "new", "starts", "length"], infer=_joined_type)
def kv_join(builder: relax.BlockBuilder, c: relax.Call) -> Any:
    """``past[:, :, :starts]``, then ``new``, then zeros up to ``length`` tokens.

    ``past`` float[batch, heads, past, head_dim] and ``new`` float[batch, heads, tokens, head_dim]; ``starts``
    int64[batch]: how many of the past's tokens each sequence keeps; ``length``: a shape of one extent.
    """
    past, new, starts, length = c.args

    def joined(past: te.Tensor, new: te.Tensor, starts: te.Tensor) -> te.Tensor:
        kept, added = past.shape[2], new.shape[2]

        def token(b: Any, h: Any, t: Any, d: Any) -> Any:
            old = tirx.all(t < starts[b], t < kept)
            fresh = tirx.all(t >= starts[b], t < starts[b] + added)
            nothing = tirx.const(0, str(new.dtype))
            return tirx.if_then_else(
                old, past[b, h, t, d], tirx.if_then_else(fresh, new[b, h, t - starts[b], d], nothing)
            )

        shape = (new.shape[0], new.shape[1], length.values[0], new.shape[3])
        return te.compute(shape, token, name="kv_join")

    return builder.call_te(joined, past, new, starts, primfunc_name_hint="kv_join")


def joined(past: Any, new: Any, starts: Any, length: relax.ShapeExpr) -> relax.Call:
    """The call."""
    return call(kv_join, [past, new, starts, length])
