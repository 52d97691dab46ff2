"""``If``: a branch that is decided at import is converted in place, else both become branches of a Relax ``If``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import onnx
from tvm import relax

from byoc.importer.scope import Scope
from byoc.importer.structure import live_nodes
from byoc.importer.values import Value

if TYPE_CHECKING:
    from byoc.importer.builder import GraphBuilder
    from byoc.importer.node_view import NodeView


def lower_if(builder: GraphBuilder, view: NodeView, scope: Scope) -> list[Value | None]:
    """The results of an ONNX ``If``."""
    branches = {name: view.attributes[name].g for name in ("then_branch", "else_branch") if name in view.attributes}
    if len(branches) != 2:
        view.refuse("it lacks a then_branch or an else_branch")
    decided = view.known(0)
    if decided is not None:
        name = "then_branch" if bool(decided.reshape(-1)[0]) else "else_branch"
        return convert_subgraph(builder, view, scope, name)
    condition = view.tensor(0)
    if view.rank(0) != 0:
        condition = builder.block_builder.emit(relax.op.reshape(condition, relax.ShapeExpr([])))
    sequences = [_branch_sequence(builder, view, scope, name) for name in ("then_branch", "else_branch")]
    count = len(view.node.proto.output)
    for name, branch in branches.items():
        if len(branch.output) != count:
            view.refuse(f"its {name} gives {len(branch.output)} values, and it has {count} outputs")
    result = builder.block_builder.emit(relax.If(condition, sequences[0], sequences[1]))
    for place, kind in enumerate([result.ty] if count == 1 else result.ty.fields):
        if kind.dtype is None:
            view.refuse(f'its branches give "{view.node.proto.output[place]}" different element types')
    if count == 1:
        return [result]
    return [builder.block_builder.emit(relax.TupleGetItem(result, index)) for index in range(count)]


def _branch_sequence(builder: GraphBuilder, view: NodeView, scope: Scope, name: str) -> relax.SeqExpr:
    outer, builder.bindings = builder.bindings, []
    builder.block_builder.begin_scope()
    builder.block_builder._begin_binding_block()
    try:
        body = builder.collect(convert_subgraph(builder, view, scope, name))
        builder.flush(view.node)
        blocks = [relax.BindingBlock(builder.bindings)] if builder.bindings else []
    finally:
        builder.block_builder._end_block()
        builder.block_builder.end_scope()
        builder.bindings = outer
    return relax.SeqExpr(blocks, body)


def convert_subgraph(
    builder: GraphBuilder, view: NodeView, scope: Scope, name: str, inputs: Sequence[Value] = ()
) -> list[Value | None]:
    """The results of the graph in attribute ``name``, on ``inputs``; it sees the values of ``scope``."""
    graph: onnx.GraphProto = view.attributes[name].g
    if len(inputs) != len(graph.input):
        view.refuse(f"its {name} takes {len(graph.input)} values, and it is given {len(inputs)}")
    inner = Scope(scope.opsets, scope)
    for value, given in zip(graph.input, inputs, strict=True):
        inner.define(value.name, given)
    builder.define_initializers(graph, inner)
    outputs = [value.name for value in graph.output]
    nodes = live_nodes(
        graph.node, outputs, inner.names(), f"{view.node.name}/{name}/", f"the {name} of node {view.node}"
    )
    builder.convert_nodes(nodes, inner)
    return [builder.find(inner, output) for output in outputs]
