"""Which operators of a model the importer does not take: all of them, before any is converted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import onnx

from byoc.errors import UnsupportedModelError
from byoc.importer.structure import Node, subgraphs
from byoc.importer.table import find_lowering, is_users, reason_to_refuse

Functions = Mapping[tuple[str, str, str], onnx.FunctionProto]


def check_operators(nodes: Sequence[Node], opsets: Mapping[str, int], functions: Functions, label: str) -> None:
    """Raise :class:`UnsupportedModelError` for all operators without a lowering: how often each occurs, where first."""
    first: dict[str, tuple[Node, str]] = {}
    counts: dict[str, int] = {}
    for node, reason in _unsupported(nodes, opsets, functions, frozenset()):
        first.setdefault(node.op_type, (node, reason))
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    if not counts:
        return
    listed = ", ".join(f'{op} x{counts[op]} (first: "{first[op][0].name}")' for op in sorted(counts))
    kinds = "1 operator" if len(counts) == 1 else f"{len(counts)} operators"
    reasons = ""
    if any(reason for _, reason in first.values()):
        reasons = "; ".join(f"{op}: {first[op][1] or 'there is no lowering to Relax for it'}" for op in sorted(counts))
    raise UnsupportedModelError(
        f"{label} uses {kinds} that the importer does not take: {listed}",
        reasons or "there is no lowering to Relax for " + ("it" if len(counts) == 1 else "them"),
        "export the model without these, or replace them by operators of the ONNX standard.",
    )


def _unsupported(
    nodes: Sequence[Node], opsets: Mapping[str, int], functions: Functions, inside: frozenset[tuple[str, str, str]]
) -> Iterator[tuple[Node, str]]:
    for node in nodes:
        key = (node.domain, node.proto.op_type, node.proto.overload)
        for name, graph in subgraphs(node.proto):
            inner = [
                Node(child, f"{node.name}/{name}/{child.name or f'{child.op_type}_{i}'}")
                for i, child in enumerate(graph.node)
            ]
            yield from _unsupported(inner, opsets, functions, inside)
        if key in functions and not is_users(node.domain, node.proto.op_type, opsets.get(node.domain, 1)):
            if key not in inside:
                function = functions[key]
                body = [
                    Node(child, f"{node.name}/{child.name or f'{child.op_type}_{i}'}")
                    for i, child in enumerate(function.node)
                ]
                versions = {
                    **opsets,
                    **{("" if o.domain == "ai.onnx" else o.domain): o.version for o in function.opset_import},
                }
                yield from _unsupported(body, versions, functions, inside | {key})
            continue
        reason = reason_to_refuse(node.domain, node.proto.op_type)
        if reason or not has_lowering(node.domain, node.proto.op_type, opsets.get(node.domain, 1)):
            yield node, reason


def has_lowering(domain: str, operator: str, version: int, inside: frozenset[str] = frozenset()) -> bool:
    """Whether the importer takes the operator, by a lowering or by the standard's definition of it."""
    if (domain == "" and operator in ("If", "Loop", "Scan")) or find_lowering(domain, operator, version):
        return True
    try:
        schema = onnx.defs.get_schema(operator, version, domain)
    except onnx.defs.SchemaError:
        return False
    if schema.has_function and operator not in inside:
        body = [(node.domain, node.op_type) for node in schema.function_body.node]
        return all(has_lowering(d, op, version, inside | {operator}) for d, op in body)
    return bool(schema.has_context_dependent_function)
