"""Activation functions."""

from __future__ import annotations

import numpy as np
from tvm import relax

from byoc.importer.lowerings.reshape import shape_expr
from byoc.importer.node_view import NodeView
from byoc.importer.table import lowers
from byoc.importer.values import Value, constant

op = relax.op


def scalar(view: NodeView, value: float) -> relax.Expr:
    """A scalar of the first input's dtype."""
    return relax.const(value, view.dtype(0))


@lowers("LeakyRelu")
def _leaky_relu(view: NodeView) -> Value:
    return op.nn.leakyrelu(view.tensor(0), view.attribute("alpha", 0.01))


@lowers("PRelu")
def _parametric_relu(view: NodeView) -> Value:
    x, slope = view.tensor(0), view.tensor(1)
    if (
        view.version < 7 and view.rank(1) == 1 and view.rank(0) > 1
    ):  # per channel; later opsets broadcast from the right
        slope = view.emit(op.reshape(slope, shape_expr([*view.shape(1), *[1] * (view.rank(0) - 2)])))
    return op.where(op.less(x, scalar(view, 0)), op.multiply(x, slope), x)


@lowers("Elu")
def _elu(view: NodeView) -> Value:
    x = view.tensor(0)
    negative = op.multiply(scalar(view, view.attribute("alpha", 1.0)), op.subtract(op.exp(x), scalar(view, 1)))
    return op.where(op.less(x, scalar(view, 0)), negative, x)


@lowers("Celu")
def _celu(view: NodeView) -> Value:
    x, alpha = view.tensor(0), view.attribute("alpha", 1.0)
    scaled = op.exp(op.divide(x, scalar(view, alpha)))
    return op.where(
        op.less(x, scalar(view, 0)), op.multiply(scalar(view, alpha), op.subtract(scaled, scalar(view, 1))), x
    )


@lowers("Selu")
def _selu(view: NodeView) -> Value:
    x = view.tensor(0)
    newer = view.version >= 6
    alpha = view.attribute("alpha", 1.67326319217681884765625 if newer else 1.6732)
    gamma = view.attribute("gamma", 1.05070102214813232421875 if newer else 1.0507)
    negative = op.multiply(scalar(view, alpha), op.subtract(op.exp(x), scalar(view, 1)))
    return op.multiply(scalar(view, gamma), op.where(op.greater(x, scalar(view, 0)), x, negative))


@lowers("ThresholdedRelu")
def _thresholded_relu(view: NodeView) -> Value:
    x = view.tensor(0)
    return op.where(op.greater(x, scalar(view, view.attribute("alpha", 1.0))), x, scalar(view, 0))


@lowers("HardSigmoid")
def _hard_sigmoid(view: NodeView) -> Value:
    alpha, beta = view.attribute("alpha", 0.2), view.attribute("beta", 0.5)
    line = op.add(op.multiply(view.tensor(0), scalar(view, alpha)), scalar(view, beta))
    return op.clip(line, relax.prim_value(0.0), relax.prim_value(1.0))


@lowers("HardSwish")
def _hard_swish(view: NodeView) -> Value:
    x = view.tensor(0)
    gate = op.clip(op.add(x, scalar(view, 3)), relax.prim_value(0.0), relax.prim_value(6.0))
    return op.divide(op.multiply(x, gate), scalar(view, 6))


@lowers("Softplus")
def _softplus(view: NodeView) -> Value:
    return softplus(view, view.tensor(0))


def softplus(view: NodeView, x: relax.Expr) -> relax.Expr:
    """log(1 + exp(x)) without overflow."""
    tail = op.log(op.add(scalar(view, 1), op.exp(op.negative(op.abs(x)))))
    return op.add(op.maximum(x, scalar(view, 0)), tail)


@lowers("Mish")
def _mish(view: NodeView) -> Value:
    x = view.tensor(0)
    return op.multiply(x, op.tanh(softplus(view, x)))


@lowers("Softsign")
def _softsign(view: NodeView) -> Value:
    x = view.tensor(0)
    return op.divide(x, op.add(scalar(view, 1), op.abs(x)))


@lowers("Shrink")
def _shrink(view: NodeView) -> Value:
    x, limit, bias = view.tensor(0), view.attribute("lambd", 0.5), view.attribute("bias", 0.0)
    dtype = view.dtype(0)
    if not dtype.startswith("float") and (limit != int(limit) or bias != int(bias)):
        view.refuse(f"it shrinks {dtype} values by fractions")
    below = op.where(op.less(x, scalar(view, -limit)), op.add(x, scalar(view, bias)), scalar(view, 0))
    return op.where(op.greater(x, scalar(view, limit)), op.subtract(x, scalar(view, bias)), below)


@lowers("Swish")
def _swish(view: NodeView) -> Value:
    x, alpha = view.tensor(0), view.attribute("alpha", 1.0)
    return op.nn.silu(x) if alpha == 1.0 else op.multiply(x, op.sigmoid(op.multiply(x, scalar(view, alpha))))


@lowers("Gelu")
def _gelu(view: NodeView) -> Value:
    form = view.attribute("approximate", "none")
    if form not in ("none", "tanh"):
        view.refuse(f'its attribute "approximate" is "{form}"')
    return (op.nn.gelu_tanh if form == "tanh" else op.nn.gelu)(view.tensor(0))


@lowers("Gelu", domain="com.microsoft")
def _contrib_gelu(view: NodeView) -> Value:
    return op.nn.gelu(view.tensor(0))


@lowers("BiasGelu", domain="com.microsoft")
def _bias_gelu(view: NodeView) -> Value:
    return op.nn.gelu(view.emit(op.add(view.tensor(0), view.tensor(1))))


@lowers("FastGelu", domain="com.microsoft")
def _fast_gelu(view: NodeView) -> Value:
    x = view.emit(op.add(view.tensor(0), view.tensor(1))) if view.has(1) else view.tensor(0)
    return op.nn.gelu_tanh(x)


@lowers("QuickGelu", domain="com.microsoft")
def _quick_gelu(view: NodeView) -> Value:
    x = view.tensor(0)
    return op.multiply(x, op.sigmoid(op.multiply(x, scalar(view, view.attribute("alpha", 1.702)))))


@lowers("Softmax", "LogSoftmax", "Hardmax")
def _flattened_softmax(view: NodeView) -> Value:
    """Before opset 13 all dimensions from ``axis`` on count as one."""
    dims = view.shape(0)
    axis = view.attribute("axis", 1)
    axis = axis if axis == len(dims) else view.axis(axis, len(dims))
    compute = _ALONG[view.node.proto.op_type]
    if axis == len(dims) - 1 or (axis < len(dims) and all(isinstance(d, int) and d == 1 for d in dims[axis + 1 :])):
        return compute(view, view.tensor(0), dims, axis)
    flat = [view.extents.product(dims[:axis]), view.extents.product(dims[axis:])]
    joined = view.emit(op.reshape(view.tensor(0), shape_expr(flat)))
    return op.reshape(view.emit(compute(view, joined, flat, 1)), shape_expr(dims))


@lowers("Softmax", "LogSoftmax", "Hardmax", since=13)
def _softmax(view: NodeView) -> Value:
    dims = view.shape(0)
    axis = view.axis(view.attribute("axis", -1), max(len(dims), 1))
    return _ALONG[view.node.proto.op_type](view, view.tensor(0), dims, axis)


def _hardmax(view: NodeView, x: relax.Expr, dims: list, axis: int) -> relax.Expr:
    if not isinstance(dims[axis], int):
        view.refuse(f"its dimension {axis} has the symbolic extent {dims[axis]}")
    place = view.emit(op.argmax(x, axis, keepdims=True))
    shape = [1] * len(dims)
    shape[axis] = dims[axis]
    view.allow_table(dims[axis], what="a table of its positions")
    indices = constant(np.arange(dims[axis], dtype=np.int64).reshape(shape))
    return op.astype(op.equal(place, indices), view.dtype(0))


_ALONG = {
    "Softmax": lambda view, x, dims, axis: op.nn.softmax(x, axis),
    "LogSoftmax": lambda view, x, dims, axis: op.nn.log_softmax(x, axis),
    "Hardmax": _hardmax,
}
