"""Evaluation at import: what depends only on constants, and on shapes even where these are symbolic.

Sizes are bounded, so that a few bytes of model never become gigabytes here: what is larger is left to run time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from byoc.importer.values import Known, Symbolic, Value

if TYPE_CHECKING:
    from byoc.importer.node_view import NodeView

MOST_BYTES = 1 << 20  # of a result that is not a mere view of its input
MOST_SYMBOLIC = 256  # elements of a tensor that is tracked symbol by symbol


class UndecidedError(Exception):
    """An evaluation needs a number where there is a symbol."""


# Takes one array per input; an evaluation does not look at optional inputs that are absent.
Evaluation: TypeAlias = "Callable[[NodeView, list[np.ndarray]], np.ndarray | list[np.ndarray] | None]"
_EVALUATIONS: dict[str, Evaluation] = {}

# Operators whose reference evaluation on constants is trusted.  Q/DQ are absent on purpose: they stay for matching.
_REFERENCE_NAMES = """
    Abs Acos Acosh And ArgMax ArgMin Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor
    Cast CastLike Ceil Clip Compress Cos Cosh CumSum Div Einsum Equal Erf Exp EyeLike Flatten Floor Gather
    GatherElements GatherND Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual Log MatMul Max Mean Min Mod Mul
    Neg NonZero Not OneHot Or Pad Pow Range Reciprocal ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin
    ReduceProd ReduceSum ReduceSumSquare Relu Round ScatterElements ScatterND Sigmoid Sign Sin Sinh Slice
    Softmax Split Sqrt Sub Sum Tan Tanh Tile TopK Trilu Unique Where Xor
"""
_BY_REFERENCE = frozenset(_REFERENCE_NAMES.split())


def fold(view: NodeView) -> Value | list[Value] | None:
    """The node's results if they are known at import, else None."""
    if view.node.domain or any(attribute.HasField("g") for attribute in view.attributes.values()):
        return None
    evaluate = _EVALUATIONS.get(view.node.proto.op_type)
    arrays = [_array(value) for value in view.inputs]
    complete = all(array is not None or value is None for array, value in zip(arrays, view.inputs, strict=True))
    if not complete:
        return None
    symbolic_input = any(isinstance(value, Symbolic) for value in view.inputs)
    try:
        results = evaluate(view, cast("list[np.ndarray]", arrays)) if evaluate else None
    except UndecidedError:
        return None
    if results is None and not symbolic_input:
        results = _by_reference(view, arrays)
    if results is None:
        return None
    values = [_value(view, result) for result in (results if isinstance(results, list) else [results])]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    view.builder.budget.folded(sum(v.array.nbytes for v in known if isinstance(v, Known) and v.array.base is None))
    view.check_all_read()
    return known if isinstance(results, list) else known[0]


def _array(value: Value | None) -> np.ndarray | None:
    if isinstance(value, Known):
        return value.array
    return value.elements if isinstance(value, Symbolic) else None


def _value(view: NodeView, result: np.ndarray) -> Value | None:
    if result.dtype != object:
        return Known(result)
    dtype = next((v.dtype for v in view.inputs if isinstance(v, Symbolic)), "int64")
    dtype = view.dtype_attribute("to") or dtype if view.node.proto.op_type == "Cast" else dtype
    elements = np.empty(result.shape, dtype=object)
    for index, element in np.ndenumerate(result):
        elements[index] = view.extents.simplify(element)
    if all(isinstance(element, int) for element in elements.reshape(-1)):
        return Known(elements.astype(dtype))
    return Symbolic(elements, dtype) if elements.ndim <= 1 and elements.size <= MOST_SYMBOLIC else None


def _by_reference(view: NodeView, arrays: list[np.ndarray | None]) -> list[np.ndarray] | None:
    """The standard's reference implementation, for small constants; None if it has none or fails."""
    if view.node.proto.op_type not in _BY_REFERENCE or not arrays or _grows(view, arrays):
        return None
    if sum(array.nbytes for array in arrays if array is not None) > MOST_BYTES:
        return None
    node = onnx.NodeProto()
    node.CopyFrom(view.node.proto)
    names = [f"i{index}" if array is not None else "" for index, array in enumerate(arrays)]
    del node.input[:], node.output[:]
    node.input.extend(names)
    node.output.extend(f"o{index}" for index in range(len(view.node.proto.output)))
    graph = onnx.helper.make_graph(
        [node],
        "fold",
        [onnx.ValueInfoProto(name=name) for name in names if name],
        [onnx.ValueInfoProto(name=name) for name in node.output],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", view.version)])
    feeds = {name: array for name, array in zip(names, arrays, strict=True) if name}
    try:
        results = ReferenceEvaluator(model).run(None, feeds)
    except Exception:  # no evaluation is no error: the node is lowered instead
        return None
    view.mark_read(*view.attributes)
    return [np.asarray(result) for result in results]


def _grows(view: NodeView, arrays: list[np.ndarray | None]) -> bool:
    """Whether the result may be much larger than the inputs."""
    kind = view.node.proto.op_type
    if kind in ("Tile", "Pad", "OneHot", "Range"):
        counts = [a for a in arrays[1:] if a is not None] if kind != "Range" else []
        total = sum(float(np.abs(a.astype(np.float64)).sum()) for a in counts if a.dtype.kind in "iu")
        if kind == "Range":
            start, limit, delta = (float(a.reshape(-1)[0]) for a in arrays if a is not None)
            total = (limit - start) / delta if delta else 0.0
        return total > MOST_BYTES / 64
    shapes = [a.shape for a in arrays if a is not None]
    try:
        size = math.prod(np.broadcast_shapes(*shapes))
    except ValueError:
        return False
    return size > MOST_BYTES


def evaluates(*operators: str) -> Callable[[Evaluation], Evaluation]:
    """Register an evaluation for arrays that may hold symbols (dtype object)."""

    def register(evaluate: Evaluation) -> Evaluation:
        for operator in operators:
            _EVALUATIONS[operator] = evaluate
        return evaluate

    return register
