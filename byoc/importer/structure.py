"""The nodes of a graph that matter: named, in an order that respects their data flow, without dead ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import onnx

from byoc.errors import ModelFileError


@dataclass(frozen=True)
class Node:
    """One ONNX node.  ``name`` is its own, or a stable made-up one such as ``Conv_3``."""

    proto: onnx.NodeProto
    name: str

    @property
    def domain(self) -> str:
        return "" if self.proto.domain == "ai.onnx" else self.proto.domain

    @property
    def op_type(self) -> str:
        """With its domain, unless it is ONNX's own: ``Conv``, ``com.microsoft.FastGelu``."""
        return f"{self.domain}.{self.proto.op_type}" if self.domain else self.proto.op_type

    def __str__(self) -> str:
        return f'"{self.name}" ({self.op_type})'


def live_nodes(
    nodes: Sequence[onnx.NodeProto],
    outputs: Iterable[str],
    defined: Iterable[str],
    path: str = "",
    where: str = "the graph",
) -> list[Node]:
    """The nodes that ``outputs`` depend on, each after the ones that it reads from.

    Parameters
    ----------
    defined: names of values that are there before the first node runs.
    path: prefix for made-up names, for nodes of subgraphs; one that ends in "()/" (a function) is for all names.

    Raises
    ------
    ModelFileError: a value is read that nothing defines, is defined twice, or depends on itself.
    """
    producers: dict[str, int] = {}
    known = set(defined)
    outputs = list(outputs)
    names = [_name(node, index, path) for index, node in enumerate(nodes)]
    for index, node in enumerate(nodes):
        for output in node.output:
            if output and output in producers and _same_constant(node, nodes[producers[output]]):
                continue
            if output and (output in producers or output in known):
                raise ModelFileError(
                    f'node "{names[index]}" defines the value "{output}" a second time',
                    "each value of an ONNX graph has one definition",
                    "export the model again.",
                )
            producers.setdefault(output, index)
    producers.pop("", None)
    reads = [list(values_read(node)) for node in nodes]
    for index, values in enumerate(reads):
        for value in values:
            if value not in producers and value not in known:
                raise _undefined(f'node "{names[index]}" reads', value)
    for value in outputs:
        if value not in producers and value not in known:
            raise _undefined(f"{where} returns", value)
    order = _depth_first(reads, producers, outputs, names)
    return [Node(nodes[index], names[index]) for index in order]


def _same_constant(one: onnx.NodeProto, other: onnx.NodeProto) -> bool:
    """Some exporters write a constant twice."""
    return one.op_type == other.op_type == "Constant" and list(one.attribute) == list(other.attribute)


def values_read(node: onnx.NodeProto) -> Iterator[str]:
    """Names of all values that the node reads, also from inside its subgraphs."""
    yield from (value for value in node.input if value)
    for attribute in node.attribute:
        for graph in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else ())):
            yield from captured_values(graph)


def captured_values(graph: onnx.GraphProto) -> Iterator[str]:
    """Names of outer values that a subgraph reads."""
    inside = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    inside |= {output for node in graph.node for output in node.output}
    for node in graph.node:
        yield from (value for value in values_read(node) if value not in inside)
    yield from (value.name for value in graph.output if value.name not in inside)


def subgraphs(node: onnx.NodeProto) -> Iterator[tuple[str, onnx.GraphProto]]:
    """Attribute name and graph of each subgraph of the node."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.name, attribute.g
        yield from ((attribute.name, graph) for graph in attribute.graphs)


def _name(node: onnx.NodeProto, index: int, path: str) -> str:
    if node.name and not path.endswith("()/"):
        return node.name
    return f"{path}{node.name or f'{node.op_type}_{index}'}"


def _undefined(who: str, value: str) -> ModelFileError:
    return ModelFileError(
        f'{who} the value "{value}", which nothing defines', "the graph is incomplete", "export the model again."
    )


def _depth_first(
    reads: list[list[str]], producers: dict[str, int], outputs: Sequence[str], names: Sequence[str]
) -> list[int]:
    """Indices of needed nodes; the file's own order wherever it is a valid one."""
    needed = [False] * len(reads)
    pending = [producers[value] for value in outputs if value in producers]
    while pending:
        index = pending.pop()
        if not needed[index]:
            needed[index] = True
            pending.extend(producers[value] for value in reads[index] if value in producers)
    order: list[int] = []
    state = [0] * len(reads)  # 0 new, 1 being placed, 2 placed
    for root in range(len(reads)):
        if not needed[root] or state[root] == 2:
            continue
        stack = [(root, iter(reads[root]))]
        state[root] = 1
        while stack:
            index, values = stack[-1]
            nearest = next((producers[v] for v in values if v in producers and state[producers[v]] != 2), None)
            if nearest is None:
                stack.pop()
                state[index] = 2
                order.append(index)
            elif state[nearest] == 1:
                raise ModelFileError(
                    f'node "{names[nearest]}" depends on its own result',
                    "an ONNX graph has no cycles",
                    "export the model again.",
                )
            else:
                state[nearest] = 1
                stack.append((nearest, iter(reads[nearest])))
    return order
