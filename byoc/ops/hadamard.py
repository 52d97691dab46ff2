"""``byoc.hadamard(x)``: rotate the last axis by an orthonormal Hadamard matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import hadamard as sylvester
from tvm import relax

from byoc.ops.register import byoc_op, call


@byoc_op("hadamard", ["x"], infer=lambda c: c.args[0].ty)
def hadamard(builder: relax.BlockBuilder, c: relax.Call) -> Any:
    """``x @ H / sqrt(n)`` over the last axis, whose extent n is a power of two; H is Sylvester's, its own inverse."""
    (x,) = c.args
    size = int(x.ty.shape.values[-1])
    return relax.op.matmul(x, relax.const(hadamard_matrix(size), "float32"))


def rotated(x: Any) -> relax.Call:
    """The call."""
    return call(hadamard, [x])


def hadamard_matrix(size: int) -> np.ndarray:
    """float32[size, size], orthonormal and symmetric."""
    return (sylvester(size) / np.sqrt(size)).astype(np.float32)
