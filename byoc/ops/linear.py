"""Linear layers by how their weights are kept.

``byoc.linear_w4``, ``byoc.linear_w8``: integers of four or eight bits.  ``byoc.linear_w16``: floats of sixteen bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax, te, tirx

from byoc.ops.register import RegisteredOp, byoc_op, call


def _result(c: relax.Call) -> Any:
    x, packed = c.args[0].ty, c.args[1].ty
    return relax.TensorType([*list(x.shape.values)[:-1], packed.shape.values[0]], x.dtype)


def _legalise(builder: relax.BlockBuilder, c: relax.Call, bits: int) -> Any:
    x, packed, scale, zero = c.args
    group, levels, per_byte = int(c.attrs["group"]), (1 << bits) - 1, 8 // bits

    def weights(packed: te.Tensor, scale: te.Tensor, zero: te.Tensor) -> te.Tensor:
        def number(k: Any, o: Any) -> Any:
            quantum = (packed[o, k // per_byte] >> tirx.Cast("uint8", k % per_byte * bits)) & tirx.IntImm(
                "uint8", levels
            )
            centred = tirx.Cast("float32", quantum) - tirx.Cast("float32", zero[o, k // group])
            return centred * tirx.Cast("float32", scale[o, k // group])

        return te.compute((packed.shape[1] * per_byte, packed.shape[0]), number, name="weights")

    return relax.op.matmul(x, builder.emit_te(weights, packed, scale, zero, primfunc_name_hint=f"unpack_w{bits}"))


_ARGUMENTS = ["x", "packed", "scale", "zero"]


@byoc_op("linear_w4", _ARGUMENTS, infer=_result)
def linear_w4(builder: relax.BlockBuilder, c: relax.Call) -> Any:
    """``x @ W.T`` with ``W[o, k] = scale[o, k // group] * (q[o, k] - zero[o, k // group])``.

    ``x`` float32[..., inputs]; ``packed`` uint8[outputs, inputs / 2], the even input in the low half of a byte;
    ``scale`` float16 or float32 [outputs, inputs / group]; ``zero`` uint8[outputs, inputs / group].  A kernel may
    round ``x`` to eight bits, block by block, unless `exact`.
    """
    return _legalise(builder, c, 4)


@byoc_op("linear_w8", _ARGUMENTS, infer=_result)
def linear_w8(builder: relax.BlockBuilder, c: relax.Call) -> Any:
    """As ``byoc.linear_w4``, with ``packed`` uint8[outputs, inputs]."""
    return _legalise(builder, c, 8)


@byoc_op("linear_w16", ["x", "weight"], infer=_result)
def linear_w16(builder: relax.BlockBuilder, c: relax.Call) -> Any:
    """``x @ weight.T``, computed in float32: ``x`` float32[..., inputs]; ``weight`` float16 or bfloat16
    [outputs, inputs]."""
    x, weight = c.args

    def floats(weight: te.Tensor) -> te.Tensor:
        shape = (weight.shape[1], weight.shape[0])
        return te.compute(shape, lambda k, o: tirx.Cast("float32", weight[o, k]), name="weights")

    return relax.op.matmul(x, builder.emit_te(floats, weight, primfunc_name_hint="unpack_w16"))


_BY_BITS: dict[int, RegisteredOp] = {4: linear_w4, 8: linear_w8}


def linear(x: Any, packed: Any, scale: Any, zero: Any, *, bits: int, group: int, exact: bool = False) -> relax.Call:
    """The call of the layer with weights of `bits` (4 or 8) in groups of `group` inputs."""
    return call(_BY_BITS[bits], [x, packed, scale, zero], {"group": group, "exact": int(exact)})


def linear_of_halves(x: Any, weight: Any) -> relax.Call:
    """The call of the layer with weights of float16 or bfloat16."""
    return call(linear_w16, [x, weight])


def unpack(packed: np.ndarray, scale: np.ndarray, zero: np.ndarray, bits: int) -> np.ndarray:
    """The weights that a packed layer stands for: float32[outputs, inputs]."""
    fields = (packed[:, :, None] >> np.arange(0, 8, bits, dtype=np.uint8)) & ((1 << bits) - 1)
    quanta = fields.reshape(len(packed), -1).astype(np.float32)
    group = quanta.shape[1] // scale.shape[1]
    return (quanta - np.repeat(zero, group, 1)) * np.repeat(scale.astype(np.float32), group, 1)
