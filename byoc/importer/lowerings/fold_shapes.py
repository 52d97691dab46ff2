"""Evaluation of the operators that compute shapes, element by element, on numbers and on symbols alike."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from tvm import tirx

from byoc.importer.fold import MOST_BYTES, MOST_SYMBOLIC, UndecidedError, evaluates
from byoc.importer.node_view import elements_of

if TYPE_CHECKING:
    from byoc.importer.node_view import NodeView

Arrays: TypeAlias = "list[np.ndarray]"  # one per input; a node with an absent input is not evaluated here


def _required_ints(view: NodeView, index: int, attribute: str) -> list[int]:
    values = _ints(view, index, attribute)
    if values is None:
        raise UndecidedError
    return values


def _ints(view: NodeView, index: int, attribute: str) -> list[int] | None:
    """Integers from an input, or from the attribute that had them in older opsets."""
    if not view.has(index):
        return view.attribute(attribute)
    elements = elements_of(view.inputs[index])
    if elements is None or not all(isinstance(element, int) for element in elements):
        raise UndecidedError
    return elements


@evaluates("Identity")
def _identity(view: NodeView, arrays: Arrays) -> np.ndarray | None:
    return arrays[0]


@evaluates("Reshape")
def _reshape(view: NodeView, arrays: Arrays) -> np.ndarray | None:
    shape = view.attribute("shape") if len(arrays) < 2 else elements_of(view.inputs[1])
    if shape is None or not all(isinstance(dim, int) for dim in shape):
        return None
    data, keep_zero = arrays[0], view.attribute("allowzero", 0)
    return data.reshape([data.shape[i] if dim == 0 and not keep_zero else dim for i, dim in enumerate(shape)])


@evaluates("Transpose")
def _transpose(view: NodeView, arrays: Arrays) -> np.ndarray | None:
    return arrays[0].transpose(view.attribute("perm"))


@evaluates("Unsqueeze")
def _unsqueeze(view: NodeView, arrays: Arrays) -> np.ndarray | None:
    axes = _required_ints(view, 1, "axes")
    rank = arrays[0].ndim + len(axes)
    return np.expand_dims(arrays[0], tuple(view.axis(axis, rank) for axis in axes))


@evaluates("Squeeze")
def _squeeze(view: NodeView, arrays: Arrays) -> np.ndarray | None:
    axes = _ints(view, 1, "axes")
    return np.squeeze(arrays[0], None if axes is None else tuple(axes))


@evaluates("Concat")
def _concat(view: NodeView, arrays: Arrays) -> np.ndarray | None:
    present = [array for array in arrays if array is not None]
    if sum(array.nbytes for array in present) > MOST_BYTES:
        return None
    return np.concatenate(present, axis=view.attribute("axis", 1))


@evaluates("Gather")
def _gather(view: NodeView, arrays: Arrays) -> np.ndarray | None:
    data, indices = arrays
    axis = view.attribute("axis", 0)
    if indices.dtype == object or data.ndim == 0:
        return None
    if indices.size * (data.size // max(data.shape[axis], 1)) * data.itemsize > MOST_BYTES:
        return None
    return np.asarray(np.take(data, indices.astype(np.int64), axis=axis))


@evaluates("Slice")
def _slice(view: NodeView, arrays: Arrays) -> np.ndarray | None:
    starts, ends = _required_ints(view, 1, "starts"), _required_ints(view, 2, "ends")
    axes = _ints(view, 3, "axes") or list(range(len(starts)))
    steps = _ints(view, 4, "steps") or [1] * len(starts)
    cut: list[slice] = [slice(None)] * arrays[0].ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        backwards_to_start = step < 0 and end < -arrays[0].shape[axis]
        cut[axis] = slice(start, None if backwards_to_start else end, step)
    return arrays[0][tuple(cut)]


@evaluates("Split")
def _split(view: NodeView, arrays: Arrays) -> list[np.ndarray] | None:
    axis = view.attribute("axis", 0)
    sizes = _ints(view, 1, "split")
    extent = arrays[0].shape[axis]
    count = view.attribute("num_outputs", len(view.node.proto.output))
    if sizes is None:
        if count != len(view.node.proto.output):
            return None
        chunk = -(-extent // count)
        sizes = [min(chunk, extent - chunk * index) for index in range(count)]
    return list(np.split(arrays[0], np.cumsum(sizes)[:-1], axis=axis))


def _elementwise(compute: Callable[[Any, Any], Any]) -> Callable[[NodeView, Arrays], np.ndarray | None]:
    def evaluate(view: NodeView, arrays: Arrays) -> np.ndarray | None:
        left, right = arrays
        if "broadcast" in view.attributes or "axis" in view.attributes:
            return None  # opset 6 and older broadcast in their own way
        if math.prod(np.broadcast_shapes(left.shape, right.shape)) > MOST_BYTES / 8:
            return None
        if left.dtype == object or right.dtype == object:
            if "f" in (left.dtype.kind, right.dtype.kind):
                return None
            return _each(compute, left, right)
        return np.asarray(compute(left, right)).astype(left.dtype, copy=False) if left.dtype.kind in "iuf" else None

    return evaluate


def _each(compute: Callable[..., Any], *arrays: np.ndarray) -> np.ndarray | None:
    """``compute`` on each tuple of elements; None if it is undecided on one."""
    views = np.broadcast_arrays(*arrays)
    result = np.empty(views[0].shape, dtype=object)
    for index in np.ndindex(result.shape):
        element = compute(*(_plain(view[index]) for view in views))
        if element is None:
            return None
        result[index] = element
    return result


def _plain(element: Any) -> Any:
    return element.item() if isinstance(element, np.generic) else element


for _name, _compute in {"Add": operator.add, "Sub": operator.sub, "Mul": operator.mul}.items():
    evaluates(_name)(_elementwise(_compute))


@evaluates("Div")
def _divide(view: NodeView, arrays: Arrays) -> np.ndarray | None:
    if object not in (arrays[0].dtype, arrays[1].dtype) or "broadcast" in view.attributes:
        return None
    return _each(view.extents.divide, *arrays)


@evaluates("Mod")
def _modulo(view: NodeView, arrays: Arrays) -> np.ndarray | None:
    if object not in (arrays[0].dtype, arrays[1].dtype) or view.attribute("fmod", 0):
        return None

    def compute(left: Any, right: Any) -> Any:
        return tirx.floormod(left, right) if view.extents.at_least(right, 1) else None

    return _each(compute, *arrays)


@evaluates("Min", "Max")
def _extreme(view: NodeView, arrays: Arrays) -> np.ndarray | None:
    if not any(array.dtype == object for array in arrays):
        return None
    choose = tirx.min if view.node.proto.op_type == "Min" else tirx.max
    result = arrays[0]
    for other in arrays[1:]:
        both = _each(lambda a, b: choose(_expr(a), _expr(b)), result, other)
        if both is None:
            return None
        result = both
    return result


def _expr(element: Any) -> Any:
    return tirx.IntImm("int64", element) if isinstance(element, int) else element


@evaluates("Neg")
def _negate(view: NodeView, arrays: Arrays) -> np.ndarray | None:
    return _each(lambda element: 0 - element, arrays[0]) if arrays[0].dtype == object else None


@evaluates("Cast")
def _cast(view: NodeView, arrays: Arrays) -> np.ndarray | None:
    if arrays[0].dtype != object:
        return None
    return arrays[0] if view.dtype_attribute("to") in ("int64", "int32") else None


@evaluates("Equal")
def _equal(view: NodeView, arrays: Arrays) -> np.ndarray | None:
    if object not in (arrays[0].dtype, arrays[1].dtype):
        return None
    decided = _each(view.extents.equal, *arrays)
    return None if decided is None else decided.astype(bool)


@evaluates("Greater", "GreaterOrEqual", "Less", "LessOrEqual")
def _compare(view: NodeView, arrays: Arrays) -> np.ndarray | None:
    if object not in (arrays[0].dtype, arrays[1].dtype):
        return None
    kind = view.node.proto.op_type
    tests = {
        "Greater": lambda a, b: view.extents.at_least(a, b + 1),
        "GreaterOrEqual": view.extents.at_least,
        "Less": lambda a, b: view.extents.at_least(b, a + 1),
        "LessOrEqual": lambda a, b: view.extents.at_least(b, a),
    }
    decided = _each(tests[kind], *arrays)
    return None if decided is None else decided.astype(bool)


@evaluates("Where")
def _where(view: NodeView, arrays: Arrays) -> np.ndarray | None:
    condition, yes, no = arrays
    if object not in (yes.dtype, no.dtype) or condition.dtype == object:
        return None
    return _each(lambda c, a, b: a if c else b, *arrays)


@evaluates("ReduceProd", "ReduceSum")
def _reduce(view: NodeView, arrays: Arrays) -> np.ndarray | None:
    data = arrays[0]
    axes = _ints(view, 1, "axes")
    if data.dtype != object or data.ndim != 1 or (not axes and view.attribute("noop_with_empty_axes", 0)):
        return None
    view.mark_read("noop_with_empty_axes")
    start, combine = (1, operator.mul) if view.node.proto.op_type == "ReduceProd" else (0, operator.add)
    total: Any = start
    for element in data:
        total = combine(total, element)
    result = np.empty((1,) if view.attribute("keepdims", 1) else (), dtype=object)
    result[...] = total
    return result


@evaluates("ConstantOfShape")
def _constant_of_shape(view: NodeView, arrays: Arrays) -> np.ndarray | None:
    if arrays[0].dtype == object:
        return None
    fill = view.attribute("value", np.zeros(1, np.float32)).reshape(-1)[0]
    if min(arrays[0], default=0) < 0:
        return None
    size = math.prod(int(extent) for extent in arrays[0])
    return np.full(arrays[0].astype(np.int64), fill) if size * fill.itemsize <= MOST_BYTES else None


@evaluates("Expand")
def _expand(view: NodeView, arrays: Arrays) -> np.ndarray | None:
    data, shape = arrays
    if shape.dtype == object:
        return None
    full = np.broadcast_shapes(data.shape, tuple(int(dim) for dim in shape))
    if math.prod(full) * data.itemsize > MOST_BYTES:
        return None
    return np.ascontiguousarray(np.broadcast_to(data, full))


@evaluates("Range")
def _range(view: NodeView, arrays: Arrays) -> np.ndarray | None:
    if not any(array.dtype == object for array in arrays):
        return None
    start, limit, delta = (_plain(array.reshape(-1)[0]) for array in arrays)
    if not isinstance(delta, int) or delta == 0:
        return None
    count = view.extents.divide(view.extents.simplify(limit - start), delta)
    if (
        not isinstance(count, int)
        or not 0 <= count * delta == view.extents.simplify(limit - start)
        or count > MOST_SYMBOLIC
    ):
        return None
    result = np.empty(count, dtype=object)
    result[:] = [start + index * delta for index in range(count)]
    return result
