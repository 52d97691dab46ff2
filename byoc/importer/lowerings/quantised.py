"""Operators on integers: those with scales as float operators between dequantize and quantize, which the rewrite to
integer ops then recognises; those without as they are."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import onnx
from tvm import relax

from byoc.importer.lowerings.convolution import integer_operand, integer_product
from byoc.importer.node_view import NodeView
from byoc.importer.structure import Node
from byoc.importer.table import Results, find_lowering, lowers
from byoc.importer.values import Known, Value
from byoc.ops import call
from byoc.ops.integer_reference import dynamic_quantize, matmul_integer

op = relax.op
_MICROSOFT = "com.microsoft"


def _constant(view: NodeView, index: int, meaning: str) -> np.ndarray:
    return view.require_known(index, f'"{meaning}"')


def _dequantised(view: NodeView, data: int, axis: int = 0) -> relax.Expr:
    """Input `data`, whose scale and zero point are the two inputs behind it, as floats."""
    scale = _constant(view, data + 1, "scale")
    zero = view.known(data + 2) if view.has(data + 2) else np.zeros((), view.builder.numpy_dtype_of(view.value(data)))
    if zero is None:
        view.refuse("one of its zero points is computed at run time; it must be constant")
    return _float(view, view.tensor(data), scale, zero, axis)


def _float(view: NodeView, x: relax.Expr, scale: np.ndarray, zero: np.ndarray, axis: int = 0) -> relax.Expr:
    scale, zero = _matched(scale, zero)
    return view.emit(op.dequantize(x, _tensor(scale), _tensor(zero), axis, "float32"))


def _quantised(view: NodeView, x: Any, scale: int, zero: int) -> relax.Expr:
    """Floats as integers, by the scale and zero point at these inputs."""
    point = view.known(zero) if view.has(zero) else np.zeros((), "uint8")
    if point is None:
        view.refuse("one of its zero points is computed at run time; it must be constant")
    step, point = _matched(_constant(view, scale, "scale"), point)
    return op.quantize(view.builder.as_tensor(x), _tensor(step), _tensor(point), 0, point.dtype.name)


def _matched(scale: np.ndarray, zero: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as scalars, or as vectors of one length."""
    if scale.size == 1:
        return scale.astype("float32").reshape(()), zero.reshape(-1)[:1].reshape(())
    return scale.astype("float32").reshape(-1), np.broadcast_to(zero.reshape(-1), scale.size).copy()


def _tensor(array: np.ndarray) -> relax.Expr:
    return relax.const(array, array.dtype.name)


def _as_float(view: NodeView, operator: str, inputs: list[Value | None]) -> Any:
    """What the float operator computes from other inputs, with the node's attributes."""
    lower = find_lowering("", operator, 21)
    assert lower is not None
    inner = copy.copy(view)
    inner.inputs = inputs
    proto = onnx.NodeProto()
    proto.CopyFrom(view.node.proto)
    proto.op_type, proto.domain = operator, ""
    inner.node = Node(proto, view.node.name)
    results = lower(inner)
    return results[0] if isinstance(results, (list, tuple)) else results


def _bias(view: NodeView, index: int, scale: np.ndarray) -> relax.Expr | None:
    """An int32 bias at the scale of the totals."""
    if not view.has(index):
        return None
    array = _constant(view, index, "bias")
    steps = scale.reshape(()) if scale.size == 1 else scale.reshape(-1)
    return _float(view, _tensor(array), steps, np.zeros((), "int32"))


@lowers("QLinearConv")
def _convolution(view: NodeView) -> Value:
    """x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias."""
    scale = _constant(view, 1, "x_scale") * _constant(view, 4, "w_scale")
    data, weight = _dequantised(view, 0), _dequantised(view, 3)
    result = _as_float(view, "Conv", [data, weight, _bias(view, 8, scale)])
    return _quantised(view, result, 6, 7)


@lowers("QLinearMatMul")
def _product(view: NodeView) -> Value:
    """a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero."""
    rank = view.rank(3)
    if _constant(view, 1, "a_scale").size > 1 and view.rank(0) != 2:
        view.refuse("its left operand has a scale for each row and more than two dimensions")
    left, right = _dequantised(view, 0, 0), _dequantised(view, 3, rank - 1)
    return _quantised(view, _as_float(view, "MatMul", [left, right]), 6, 7)


@lowers("QGemm", domain=_MICROSOFT)
def _general_product(view: NodeView) -> Value:
    """a, a_scale, a_zero, b, b_scale, b_zero, bias, y_scale, y_zero; without the last two the result is float."""
    if view.attribute("alpha", 1.0) != 1.0:
        view.refuse(f"its alpha is {view.attribute('alpha')}")
    scale = _constant(view, 1, "a_scale") * _constant(view, 4, "b_scale")
    axis = 0 if view.attribute("transB", 0) else 1
    left, right = _dequantised(view, 0), _dequantised(view, 3, axis)
    result = _as_float(view, "Gemm", [left, right, _bias(view, 6, scale)])
    return _quantised(view, result, 7, 8) if view.has(7) else result


@lowers("QLinearAdd", "QLinearMul", domain=_MICROSOFT)
def _elementwise(view: NodeView) -> Value:
    """a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero."""
    operator = str(view.node.proto.op_type).removeprefix("QLinear")
    result = _as_float(view, operator, [_dequantised(view, 0), _dequantised(view, 3)])
    return _quantised(view, result, 6, 7)


@lowers("QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax", domain=_MICROSOFT)
def _activation(view: NodeView) -> Value:
    """x, x_scale, x_zero, y_scale, y_zero."""
    view.mark_read("opset")
    operator = str(view.node.proto.op_type).removeprefix("QLinear")
    return _quantised(view, _as_float(view, operator, [_dequantised(view, 0)]), 3, 4)


@lowers("QLinearAveragePool", "QLinearGlobalAveragePool", domain=_MICROSOFT)
def _average(view: NodeView) -> Value:
    """x, x_scale, x_zero, y_scale, y_zero."""
    if view.attribute("channels_last", 0):
        view.refuse("its channels come last")
    operator = str(view.node.proto.op_type).removeprefix("QLinear")
    return _quantised(view, _as_float(view, operator, [_dequantised(view, 0)]), 3, 4)


@lowers("QLinearConcat", domain=_MICROSOFT)
def _concatenation(view: NodeView) -> Value:
    """y_scale, y_zero, then x, x_scale, x_zero for each part."""
    parts = [_dequantised(view, index) for index in range(2, len(view.inputs), 3)]
    result = view.emit(op.concat(parts, view.axis(view.attribute("axis"), view.rank(2))))
    return _quantised(view, result, 0, 1)


@lowers("DynamicQuantizeLinear")
def _dynamic_quantize(view: NodeView) -> Results:
    made = view.emit(call(dynamic_quantize, [view.tensor(0)]))
    return [view.emit(relax.TupleGetItem(made, index)) for index in range(3)]


@lowers("ConvInteger")
def _integer_convolution(view: NodeView) -> Value:
    return _as_float(view, "Conv", [integer_operand(view, 0, 2), integer_operand(view, 1, 3)])


@lowers("MatMulInteger")
def _integer_product(view: NodeView) -> Value:
    """a, b, a_zero, b_zero."""
    weight = view.known(1)
    point = view.known(3) if view.has(3) else np.zeros((), "int8")
    single = not view.has(2) or view.shape(2) in ([], [1])
    if weight is None or point is None or weight.ndim != 2 or not single:
        return integer_product(view)
    centred = weight.astype("int64") - point.astype("int64")
    if centred.min(initial=0) < -128 or centred.max(initial=0) > 127:
        return integer_product(view)
    zero = view.tensor(2) if view.has(2) else relax.const(np.zeros((), view.dtype(0)), view.dtype(0))
    if view.has(2) and view.rank(2):
        zero = view.emit(op.reshape(zero, relax.ShapeExpr([])))
    return call(matmul_integer, [view.tensor(0), zero, Known(centred.astype("int8")).constant])
