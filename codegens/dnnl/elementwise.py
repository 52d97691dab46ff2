"""Functions of one element, and of two."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from byoc_codegens.dnnl.family import Kernel, Translation, refused
from byoc_codegens.dnnl.program import Tensor

from byoc import Match, Value, reject

# Op: (algorithm, alpha, beta).
_UNARY = {
    "nn.relu": ("relu", 0.0, 0.0),
    "nn.gelu": ("gelu_erf", 0.0, 0.0),
    "nn.gelu_tanh": ("gelu_tanh", 0.0, 0.0),
    "nn.silu": ("swish", 1.0, 0.0),
    "sigmoid": ("logistic", 0.0, 0.0),
    "tanh": ("tanh", 0.0, 0.0),
    "exp": ("exp", 0.0, 0.0),
    "sqrt": ("sqrt", 0.0, 0.0),
    "rsqrt": ("pow", 1.0, -0.5),
    "square": ("square", 0.0, 0.0),
    "abs": ("abs", 0.0, 0.0),
    "negative": ("linear", -1.0, 0.0),
    "round": ("round", 0.0, 0.0),
}
_LOGARITHMS = ("log", "nn.log_softmax")
_BINARY = {
    "add": "add", "subtract": "sub", "multiply": "mul", "divide": "div", "maximum": "max", "minimum": "min"
}  # fmt: skip


def _unary(m: Match, to: Translation) -> Tensor:
    algorithm, alpha, beta = _UNARY[m.root.op]
    return to.eltwise(algorithm, to.tensor(m.root.inputs[0]), alpha, beta)


def _leaky_relu(m: Match, to: Translation) -> Tensor:
    return to.eltwise("relu", to.tensor(m.root.inputs[0]), float(m.root.attrs["alpha"]))


def _clip(m: Match, to: Translation) -> Tensor:
    low, high = (float(m.root.attrs[k]) for k in ("min", "max"))
    x = to.tensor(m.root.inputs[0])
    if high == math.inf:
        return x if low == -math.inf else _limited("max", x, low, to)
    return _limited("min", x, high, to) if low == -math.inf else to.eltwise("clip", x, low, high)


def _limited(kind: str, x: Tensor, limit: float, to: Translation) -> Tensor:
    """The larger (``max``) or smaller (``min``) of each element and a number; infinities stay."""
    if kind == "max" and limit == 0:
        return to.eltwise("relu", x)
    return to.add("binary", [x, to.number(limit)], x.shape, algorithm=f"binary_{kind}")


def _broadcast_needed(small: Value, large: Value) -> bool:
    """Whether the one has to be repeated to get the other's shape."""
    assert small.shape is not None and large.shape is not None
    return _padded(small.shape, large.rank) != tuple(large.shape)


def _padded(shape: Any, rank: int) -> tuple[Any, ...]:
    return (1,) * (rank - len(shape)) + tuple(shape)


def _check_binary(m: Match) -> Any:
    left, right = m.root.inputs
    if left.is_constant and right.is_constant:
        return reject("both operands are constants", at=left)
    if m.root.op == "power":
        if right.is_constant and right.size == 1:
            return None
        return reject("takes exponents that are one constant", at=right)
    for a, b in ((left, right), (right, left)):
        if not _broadcast_needed(a, m.out):
            if any(d != 1 and d != e for d, e in zip(_padded(b.shape, m.out.rank), m.out.shape or (), strict=True)):
                return reject("whether a symbolic dimension is broadcast is not known", at=b)
            return None
    return reject("both operands would have to be broadcast", at=m.out)


def _binary(m: Match, to: Translation) -> Tensor:
    left, right = (to.tensor(v) for v in m.root.inputs)
    op = m.root.op
    assert m.out.shape is not None
    if right.is_scalar:
        return _with_scalar(op, _of_rank(m.out.rank, left, to), right.scalar, to)
    if left.is_scalar:
        return _scalar_with(op, left.scalar, _of_rank(m.out.rank, right, to), to)
    if _broadcast_needed(m.root.inputs[0], m.out):
        if op == "subtract":
            left, right, op = to.eltwise("linear", right, -1.0), left, "add"
        elif op == "divide":
            left, right, op = to.eltwise("pow", right, 1.0, -1.0), left, "multiply"
        else:
            left, right = right, left
    return to.add("binary", [left, right], m.out.shape, algorithm=f"binary_{_BINARY[op]}")


def _of_rank(rank: int, x: Tensor, to: Translation) -> Tensor:
    """A tensor with more dimensions of size one before its own, where a number has more dimensions than it."""
    return x if x.rank == rank else to.reshape(x, _padded(x.shape, rank))


def _with_scalar(op: str, x: Tensor, scalar: float, to: Translation) -> Tensor:
    if op == "add":
        return to.eltwise("linear", x, 1.0, scalar)
    if op == "subtract":
        return to.eltwise("linear", x, 1.0, -scalar)
    if op == "multiply":
        return to.eltwise("linear", x, scalar)
    if op == "divide":
        if _is_normal(scalar) and _is_normal(1 / scalar):
            return to.eltwise("linear", x, 1.0 / scalar)
        return to.add("binary", [x, to.number(scalar)], x.shape, algorithm="binary_div")
    if op == "maximum":
        return _limited("max", x, scalar, to)
    if op == "minimum":
        return _limited("min", x, scalar, to)
    assert op == "power", op
    return to.eltwise("square", x) if scalar == 2 else to.eltwise("pow", x, 1.0, scalar)


def _is_normal(number: float) -> bool:
    """Whether float32 has it with all its digits."""
    return float(np.finfo(np.float32).tiny) <= abs(number) <= float(np.finfo(np.float32).max)


def _scalar_with(op: str, scalar: float, x: Tensor, to: Translation) -> Tensor:
    if op == "subtract":
        return to.eltwise("linear", x, -1.0, scalar)
    if op == "divide":
        return to.eltwise("pow", x, scalar, -1.0)
    return _with_scalar(op, x, scalar, to)


KERNELS = (
    *(Kernel(name, _unary) for name in _UNARY),
    *(refused(name, "oneDNN's logarithm is off by up to 2e-5 of the result near one") for name in _LOGARITHMS),
    Kernel("nn.leakyrelu", _leaky_relu),
    Kernel("clip", _clip),
    *(Kernel(name, _binary, _check_binary) for name in (*_BINARY, "power")),
)
