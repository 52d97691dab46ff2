"""Sequences and optionals.  They exist at import only: how many elements a sequence has must be known then."""

from __future__ import annotations

import numpy as np
from tvm import relax

from byoc.importer.node_view import NodeView
from byoc.importer.table import lowers
from byoc.importer.unroll import element, stack
from byoc.importer.values import Known, Nothing, Value, ValueList

op = relax.op


def _elements(view: NodeView, index: int = 0) -> tuple[Value, ...]:
    value = view.value(index)
    if not isinstance(value, ValueList):
        view.refuse(f"its input {index} is no sequence")
    return value.elements


def _place(view: NodeView, index: int, count: int, default: int) -> int:
    """A position among ``count`` elements, counted from the front."""
    if not view.has(index):
        return default
    place = int(view.require_known(index, '"position"').reshape(-1)[0])
    if not -count <= place < count:
        view.refuse(f"its position {place} is outside a sequence of {count}")
    return place % count


@lowers("SequenceEmpty")
def _empty(view: NodeView) -> Value:
    view.mark_read("dtype")
    return ValueList(())


@lowers("SequenceConstruct")
def _construct(view: NodeView) -> Value:
    return ValueList(tuple(view.value(index) for index in range(len(view.inputs))))


@lowers("SequenceInsert")
def _insert(view: NodeView) -> Value:
    elements = _elements(view)
    count = len(elements)
    place = int(view.require_known(2, '"position"').reshape(-1)[0]) if view.has(2) else count
    if not -count <= place <= count:
        view.refuse(f"its position {place} is outside a sequence of {count}")
    place = place + count if place < 0 else place
    return ValueList((*elements[:place], view.value(1), *elements[place:]))


@lowers("SequenceErase")
def _erase(view: NodeView) -> Value:
    elements = _elements(view)
    place = _place(view, 1, len(elements), len(elements) - 1)
    return ValueList((*elements[:place], *elements[place + 1 :]))


@lowers("SequenceAt")
def _at(view: NodeView) -> Value:
    elements = _elements(view)
    return elements[_place(view, 1, len(elements), 0)]


@lowers("SequenceLength")
def _length(view: NodeView) -> Value:
    return Known(np.array(len(_elements(view)), np.int64))


@lowers("ConcatFromSequence")
def _concatenate(view: NodeView) -> Value:
    elements, axis = _elements(view), view.attribute("axis")
    if not elements:
        view.refuse("its sequence is empty")
    if view.attribute("new_axis", 0):
        return stack(view, elements, axis)
    axis = view.axis(axis, len(view.shape_of(elements[0])))
    return op.concat([view.builder.as_tensor(value) for value in elements], axis)


@lowers("SplitToSequence")
def _split(view: NodeView) -> Value:
    dims = view.shape(0)
    axis = view.axis(view.attribute("axis", 0), len(dims))
    keep = bool(view.attribute("keepdims", 1))
    extent = dims[axis]
    if not isinstance(extent, int):
        view.refuse(f"it cuts a dimension of symbolic extent {extent}")
    if not view.has(1):
        places = range(extent)
        if not keep:
            return ValueList(tuple(element(view, view.value(0), axis, place) for place in places))
        sizes = [1] * extent
    else:
        split = view.require_known(1, '"split"')
        size = int(split.reshape(-1)[0]) if split.ndim == 0 else 0
        if split.ndim == 0 and size < 1:
            view.refuse(f"its parts are of size {size}")
        if size:
            view.builder.budget.nodes(-(-extent // size), "its parts come to")
        sizes = [min(size, extent - at) for at in range(0, extent, size)] if size else [int(s) for s in split]
    if sum(sizes) != extent or min(sizes, default=0) < 0:
        view.refuse(f"its parts {sizes} do not add up to the extent {extent}")
    ends = np.cumsum(sizes).tolist()
    parts = [op.strided_slice(view.tensor(0), [axis], [e - s], [e]) for s, e in zip(sizes, ends, strict=True)]
    return ValueList(tuple(view.emit(part) for part in parts))


@lowers("Optional")
def _optional(view: NodeView) -> Value:
    view.mark_read("type")
    return view.value(0) if view.has(0) else Nothing()


@lowers("OptionalHasElement")
def _has_element(view: NodeView) -> Value:
    return Known(np.array(view.has(0) and not isinstance(view.value(0), Nothing)))


@lowers("OptionalGetElement")
def _get_element(view: NodeView) -> Value:
    value = view.value(0)
    if isinstance(value, Nothing):
        view.refuse("it takes the value out of an optional that holds nothing")
    return value
