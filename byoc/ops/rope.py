"""``byoc.rope(x, lengths, frequencies)``: rotary position embedding."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax, te, tirx

from byoc.ops.register import byoc_op, call


@byoc_op("rope", ["x", "lengths", "frequencies"], infer=lambda c: c.args[0].ty)
def rope(builder: relax.BlockBuilder, c: relax.Call) -> Any:
    """Rotate pairs of channels by an angle that grows with the position (RoFormer, 2104.09864, section 3.2.2).

    ``x`` float32[batch, tokens, heads, head_dim]; token i of sequence b stands at position ``lengths[b] + i``.  Pair k
    of the first ``2 * len(frequencies)`` channels turns by ``position * frequencies[k]``; the others stay.  A pair is
    (k, k + half), or (2k, 2k + 1) with `interleaved`.  `factor` multiplies sine and cosine.
    """
    interleaved, factor = bool(c.attrs["interleaved"]), float(c.attrs["factor"])

    def rotated(x: te.Tensor, lengths: te.Tensor, frequencies: te.Tensor) -> te.Tensor:
        half = int(frequencies.shape[0])

        def channel(b: Any, i: Any, h: Any, d: Any) -> Any:
            pair = d // 2 if interleaved else d % half
            first = d % 2 == 0 if interleaved else d < half
            mate = tirx.if_then_else(first, d + (1 if interleaved else half), d - (1 if interleaved else half))
            angle = tirx.Cast("float32", lengths[b] + i) * frequencies[pair]
            sine = tirx.sin(angle) * tirx.FloatImm("float32", factor)
            cosine = tirx.cos(angle) * tirx.FloatImm("float32", factor)
            turned = x[b, i, h, d] * cosine + tirx.if_then_else(first, -sine, sine) * x[b, i, h, mate]
            return turned if 2 * half == int(x.shape[3]) else tirx.if_then_else(d < 2 * half, turned, x[b, i, h, d])

        return te.compute(x.shape, channel, name="rope")

    return builder.call_te(rotated, *c.args, primfunc_name_hint="rope")


def rotate(x: Any, lengths: Any, frequencies: Any, *, interleaved: bool = False, factor: float = 1.0) -> relax.Call:
    """The call that rotates ``x``."""
    return call(rope, [x, lengths, frequencies], {"interleaved": int(interleaved), "factor": float(factor)})


def rotate_reference(
    x: np.ndarray, lengths: np.ndarray, frequencies: np.ndarray, interleaved: bool = False, factor: float = 1.0
) -> np.ndarray:
    """The op in NumPy."""
    half = len(frequencies)
    positions = lengths[:, None] + np.arange(x.shape[1])
    angle = positions[:, :, None, None].astype(np.float32) * frequencies.astype(np.float32)
    cosine, sine = np.cos(angle) * factor, np.sin(angle) * factor
    pairs = (slice(0, 2 * half, 2), slice(1, 2 * half, 2)) if interleaved else (slice(0, half), slice(half, 2 * half))
    a, b = (x[..., p] for p in pairs)
    result = x.copy()
    result[..., pairs[0]], result[..., pairs[1]] = a * cosine - b * sine, b * cosine + a * sine
    return result
