"""Which operators of a model the importer does not take: all of them, before any is converted."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import onnx

from byoc.errors import UnsupportedModelError
from byoc.importer.structure import Node, subgraphs
from byoc.importer.table import find_lowering, is_users, reason_to_refuse

Key = tuple[str, str, str]  # domain, name, overload
Functions = Mapping[Key, onnx.FunctionProto]
_MOST_LISTED = 10_000  # nodes: functions that call each other can hold more than can be counted


def check_operators(nodes: Sequence[Node], opsets: Mapping[str, int], functions: Functions, label: str) -> None:
    """Raise :class:`UnsupportedModelError` for all operators without a lowering: how often each occurs, where first."""
    first: dict[str, tuple[Node, str]] = {}
    counts: dict[str, int] = {}
    for node, reason in itertools.islice(_Search(functions).unsupported(nodes, opsets), _MOST_LISTED):
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


class _Search:
    """Finds nodes without a lowering, also in subgraphs and in the functions that nodes call."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions
        self._whole: set[Key] = set()  # functions without such nodes: each is walked through once

    def unsupported(
        self, nodes: Sequence[Node], opsets: Mapping[str, int], callers: tuple[Key, ...] = ()
    ) -> Iterator[tuple[Node, str]]:
        """Each such node, and why it is refused ("" if nobody said)."""
        for node in nodes:
            for name, graph in subgraphs(node.proto):
                yield from self.unsupported(_named(graph.node, f"{node.name}/{name}"), opsets, callers)
            key = (node.domain, node.proto.op_type, node.proto.overload)
            version = opsets.get(node.domain, 1)
            if key in self._functions and not is_users(node.domain, node.proto.op_type, version):
                yield from self._in_function(node, key, opsets, callers)
                continue
            reason = reason_to_refuse(node.domain, node.proto.op_type)
            if reason or not has_lowering(node.domain, node.proto.op_type, version):
                yield node, reason

    def _in_function(
        self, node: Node, key: Key, opsets: Mapping[str, int], callers: tuple[Key, ...]
    ) -> Iterator[tuple[Node, str]]:
        if key in callers:
            chain = " -> ".join(f"{domain}.{name}" for domain, name, _ in (*callers[callers.index(key) :], key))
            raise UnsupportedModelError(
                f"the function {node.op_type} calls itself", chain, "export the model without recursive functions."
            )
        if key in self._whole:
            return
        function, found = self._functions[key], False
        own = {("" if o.domain == "ai.onnx" else o.domain): o.version for o in function.opset_import}
        for inner in self.unsupported(_named(function.node, node.name), {**opsets, **own}, (*callers, key)):
            found = True
            yield inner
        if not found:
            self._whole.add(key)


def _named(nodes: Iterable[onnx.NodeProto], path: str) -> list[Node]:
    return [Node(node, f"{path}/{node.name or f'{node.op_type}_{i}'}") for i, node in enumerate(nodes)]


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
