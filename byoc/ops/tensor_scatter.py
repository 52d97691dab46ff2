"""``byoc.tensor_scatter(past, update, starts)``: a cache with new tokens written over some of its slots."""

from __future__ import annotations

from typing import Any

from tvm import relax, te, tirx

from byoc.ops.register import byoc_op, call


@byoc_op("tensor_scatter", ["past", "update", "starts"], infer=lambda c: c.args[0].ty)
def tensor_scatter(builder: relax.BlockBuilder, c: relax.Call) -> Any:
    """``past`` with ``update`` at slots ``starts[b]``, ``starts[b] + 1``... of its axis `axis`, as a new tensor.

    ``past`` [batch, ..., slots, ...]; ``update`` likewise with no more slots; ``starts`` int64[batch].  `circular`:
    slots behind the last are the first ones; else they are left out.
    """
    axis, circular = int(c.attrs["axis"]), bool(c.attrs["circular"])

    def written(past: te.Tensor, update: te.Tensor, starts: te.Tensor) -> te.Tensor:
        slots = past.shape[axis]

        def element(*at: Any) -> Any:
            step = at[axis] - starts[at[0]]
            if circular:
                step = tirx.floormod(step, slots)
            inside = tirx.all(step >= 0, step < update.shape[axis])
            place = (*at[:axis], step, *at[axis + 1 :])
            return tirx.if_then_else(inside, update[place], past[at])

        return te.compute(past.shape, element, name="tensor_scatter")

    return builder.call_te(written, *c.args, primfunc_name_hint="tensor_scatter")


def scattered(past: Any, update: Any, starts: Any, axis: int, circular: bool) -> relax.Call:
    """The call."""
    return call(tensor_scatter, [past, update, starts], {"axis": axis, "circular": int(circular)})
