"""Functions: a node that stands for a graph, either one of the model's own or one that the ONNX standard defines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import onnx

from byoc.importer.node_view import standard_defaults
from byoc.importer.origin import Origin
from byoc.importer.scope import Scope
from byoc.importer.structure import live_nodes, subgraphs
from byoc.importer.values import Value, ValueList

if TYPE_CHECKING:
    from byoc.importer.builder import GraphBuilder
    from byoc.importer.node_view import NodeView


def lower_function(
    builder: GraphBuilder, view: NodeView, function: onnx.FunctionProto, opsets: Mapping[str, int], *, own_nodes: bool
) -> list[Value | None]:
    """The results of a call of ``function``.

    With ``own_nodes`` the body's nodes keep names of their own, below the caller's; else all stem from the caller.
    """
    builder.budget.depth(builder.depth + 1)
    if own_nodes:
        builder.budget.nodes(len(function.node), "the functions that it calls come to")
    inner = {**opsets, **{("" if o.domain == "ai.onnx" else o.domain): o.version for o in function.opset_import}}
    scope = Scope(inner)
    for index, name in enumerate(function.input):
        if view.has(index):
            scope.define(name, view.value(index))
        else:
            scope.define_absent(name)
    attributes = {attribute.name: attribute for attribute in function.attribute_proto}
    if not own_nodes:
        attributes.update(standard_defaults(view.node.domain, view.node.proto.op_type, view.version))
    attributes.update(view.attributes)
    view.mark_read(*function.attribute, *(a.name for a in function.attribute_proto))
    if own_nodes:
        view.check_all_read()
    wanted = [name for index, name in enumerate(function.output) if view.uses(index)]
    body = [_with_attributes(node, attributes) for node in function.node]
    nodes = live_nodes(body, wanted, scope.names(), f"{view.node.name}()/", f"function {view.node.op_type}")
    builder.depth += 1
    try:
        builder.convert_function_body(nodes, scope, None if own_nodes else Origin(view.node.name, view.node.op_type))
    finally:
        builder.depth -= 1
    return [builder.find(scope, name) if name in wanted else None for name in function.output]


def function_of(view: NodeView) -> onnx.FunctionProto | None:
    """The standard's definition of the node's operator in terms of others, if it has one."""
    try:
        schema = onnx.defs.get_schema(view.node.proto.op_type, view.version, view.node.domain)
    except onnx.defs.SchemaError:
        return None
    function = onnx.FunctionProto()
    if schema.has_function:
        versions = [v for v in schema.function_opset_versions if v <= view.version] or schema.function_opset_versions
        function.ParseFromString(schema.get_function_with_opset_version(max(versions)))
        return function
    if not schema.has_context_dependent_function:
        return None
    versions = schema.context_dependent_function_opset_versions
    version = max([v for v in versions if v <= view.version] or versions)
    types = [_type_proto(view, index).SerializeToString() for index in range(len(view.inputs))]
    data = schema.get_context_dependent_function_with_opset_version(version, view.node.proto.SerializeToString(), types)
    function.ParseFromString(data)
    return function if function.node else None


def _type_proto(view: NodeView, index: int) -> onnx.TypeProto:
    if not view.has(index):
        return onnx.TypeProto()
    return _type_of(view, view.value(index))


def _type_of(view: NodeView, value: Value) -> onnx.TypeProto:
    if isinstance(value, ValueList):
        if not value.elements:
            view.refuse("one of its inputs is a sequence without elements, whose type is not known")
        return onnx.helper.make_sequence_type_proto(_type_of(view, value.elements[0]))
    element = onnx.helper.np_dtype_to_tensor_dtype(view.builder.numpy_dtype_of(value))
    shape = view.builder.shape_of(value)
    dims = None if shape is None else [dim if isinstance(dim, int) else str(dim) for dim in shape]
    return onnx.helper.make_tensor_type_proto(element, dims)


def _with_attributes(node: onnx.NodeProto, attributes: Mapping[str, onnx.AttributeProto]) -> onnx.NodeProto:
    """The node with references to the function's attributes replaced by the caller's; absent ones are dropped."""
    nested = any(True for _ in subgraphs(node))
    if not nested and not any(attribute.ref_attr_name for attribute in node.attribute):
        return node
    fresh = onnx.NodeProto()
    fresh.CopyFrom(node)
    del fresh.attribute[:]
    for attribute in node.attribute:
        if not attribute.ref_attr_name:
            fresh.attribute.append(attribute)
        elif attribute.ref_attr_name in attributes:
            fresh.attribute.append(attributes[attribute.ref_attr_name])
            fresh.attribute[-1].name = attribute.name
    for _, graph in subgraphs(fresh):
        inner = [_with_attributes(child, attributes) for child in graph.node]
        del graph.node[:]
        graph.node.extend(inner)
    return fresh
