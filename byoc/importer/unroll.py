"""``Loop`` and ``Scan`` whose number of turns is known at import: the body is converted once for each turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from byoc.importer.control import convert_subgraph
from byoc.importer.structure import subgraphs
from byoc.importer.values import Known, Value, ValueList

if TYPE_CHECKING:
    import onnx

    from byoc.importer.builder import GraphBuilder, Scope
    from byoc.importer.node_view import NodeView

op = relax.op


def lower_loop(builder: GraphBuilder, view: NodeView, scope: Scope) -> list[Value | None]:
    """Inputs: the most turns, a condition, carried values.  Results: carried values, then what each turn gives."""
    view.mark_read("body")
    body: onnx.GraphProto = view.attributes["body"].g
    most = int(view.require_known(0, '"M", the number of turns,').reshape(-1)[0]) if view.has(0) else None
    going: Value = view.value(1) if view.has(1) else Known(np.array(True))
    if most is None and not view.has(1):
        view.refuse("nothing ends it: it has neither a number of turns nor a condition")
    carried = [view.value(index) for index in range(2, len(view.inputs))]
    given: list[list[Value]] = [[] for _ in range(len(body.output) - 1 - len(carried))]
    turn = 0
    while (most is None or turn < most) and _holds(view, going):
        _count(builder, view, body)
        values = [Known(np.array(turn, np.int64)), going, *carried]
        going, *results = _present(view, convert_subgraph(builder, view, scope, "body", values))
        carried, fresh = results[: len(carried)], results[len(carried) :]
        for collected, value in zip(given, fresh, strict=True):
            collected.append(value)
        turn += 1
    return [*carried, *(_stacked(view, values, 0, index) for index, values in enumerate(given))]


def _holds(view: NodeView, condition: Value) -> bool:
    if not isinstance(condition, Known):
        view.refuse("whether it takes another turn is computed at run time; the importer unrolls loops")
    return bool(condition.array.reshape(-1)[0])


def _count(builder: GraphBuilder, view: NodeView, body: onnx.GraphProto) -> None:
    builder.budget.nodes(_size(body), "the importer unrolls loops, and its turns come to")


def _size(graph: onnx.GraphProto) -> int:
    return 1 + len(graph.node) + sum(_size(inner) for node in graph.node for _, inner in subgraphs(node))


def _present(view: NodeView, values: Sequence[Value | None]) -> list[Value]:
    if any(value is None for value in values):
        view.refuse("its body leaves one of its results out")
    return [value for value in values if value is not None]


def lower_scan(builder: GraphBuilder, view: NodeView, scope: Scope) -> list[Value | None]:
    """Inputs: states, then tensors that are walked along an axis.  Results: states, then what each turn gives."""
    view.mark_read("body")
    body: onnx.GraphProto = view.attributes["body"].g
    walked = view.attribute("num_scan_inputs")
    if view.version < 9:
        return _scan_of_batches(builder, view, scope, body, walked)
    states = [view.value(index) for index in range(len(view.inputs) - walked)]
    sources = [view.value(index) for index in range(len(view.inputs) - walked, len(view.inputs))]
    results = len(body.output) - len(states)
    axes = [
        view.axis(axis, len(view.shape_of(source)))
        for axis, source in zip(view.attribute("scan_input_axes") or [0] * walked, sources, strict=True)
    ]
    backwards = view.attribute("scan_input_directions") or [0] * walked
    placed = view.attribute("scan_output_axes") or [0] * results
    flipped = view.attribute("scan_output_directions") or [0] * results
    states, given = _scan(builder, view, scope, body, states, list(zip(sources, axes, backwards, strict=True)))
    ordered = [values[::-1] if flip else values for values, flip in zip(given, flipped, strict=True)]
    return [*states, *(_stacked(view, v, axis, i) for i, (v, axis) in enumerate(zip(ordered, placed, strict=True)))]


def _scan_of_batches(
    builder: GraphBuilder, view: NodeView, scope: Scope, body: onnx.GraphProto, walked: int
) -> list[Value | None]:
    """Opset 8: every value has a batch axis first, and the batch's items are scanned one by one."""
    if view.has(0):
        view.refuse("its sequences have lengths of their own")
    backwards = view.attribute("directions") or [0] * walked
    inputs = [view.value(index) for index in range(1, len(view.inputs))]
    batch = view.shape_of(inputs[0])[0]
    if not isinstance(batch, int) or batch < 1:
        view.refuse(f"its batch is {batch}; the importer unrolls it")
    items: list[list[Value]] = []
    for place in range(batch):
        own = [element(view, value, 0, place) for value in inputs]
        states, sources = own[: len(own) - walked], own[len(own) - walked :]
        walks = [(source, 0, flip) for source, flip in zip(sources, backwards, strict=True)]
        states, given = _scan(builder, view, scope, body, states, walks)
        items.append([*states, *(_stacked(view, values, 0, index) for index, values in enumerate(given))])
    return [_stacked(view, [item[index] for item in items], 0, index) for index in range(len(body.output))]


def _scan(
    builder: GraphBuilder,
    view: NodeView,
    scope: Scope,
    body: onnx.GraphProto,
    states: list[Value],
    walks: Sequence[tuple[Value, int, int]],
) -> tuple[list[Value], list[list[Value]]]:
    """States after the last turn, and per further result what each turn gave; a walk is (tensor, axis, backwards)."""
    turns = {str(view.shape_of(source)[axis]): view.shape_of(source)[axis] for source, axis, _ in walks}
    extent = next(iter(turns.values()))
    if len(turns) != 1:
        view.refuse(f"the axes that it walks have different extents: {', '.join(turns)}")
    if not isinstance(extent, int):
        view.refuse(f"it walks an axis of symbolic extent {extent}; the importer unrolls it")
    given: list[list[Value]] = [[] for _ in range(len(body.output) - len(states))]
    for turn in range(extent):
        _count(builder, view, body)
        now = [element(view, source, axis, extent - 1 - turn if back else turn) for source, axis, back in walks]
        results = _present(view, convert_subgraph(builder, view, scope, "body", [*states, *now]))
        states = results[: len(states)]
        for collected, value in zip(given, results[len(states) :], strict=True):
            collected.append(value)
    return states, given


def element(view: NodeView, value: Value, axis: int, place: int) -> Value:
    """``value`` at ``place`` of ``axis``, without that axis."""
    if isinstance(value, Known):
        return Known(np.take(value.array, place, axis))
    tensor = view.builder.as_tensor(value)
    cut = view.emit(op.strided_slice(tensor, [axis], [place], [place + 1]))
    return view.emit(op.squeeze(cut, [axis]))


def _stacked(view: NodeView, values: Sequence[Value], axis: int, index: int) -> Value:
    if not values:
        view.refuse(f"it takes no turn, and what its result {index} would be is not known then")
    if any(isinstance(value, ValueList) for value in values):
        view.refuse("its turns give sequences")
    return stack(view, values, axis)


def stack(view: NodeView, values: Sequence[Value], axis: int) -> Value:
    """The values, all of one shape, along a new axis."""
    if all(isinstance(value, Known) for value in values):
        return Known(np.stack([value.array for value in values if isinstance(value, Known)], axis))
    rank = len(view.shape_of(values[0])) + 1
    axis = view.axis(axis, rank)
    parts = [view.emit(op.expand_dims(view.builder.as_tensor(value), axis)) for value in values]
    return view.emit(op.concat(parts, axis)) if len(parts) > 1 else parts[0]
