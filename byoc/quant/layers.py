"""Which parts of a float graph are quantised, as what, and which tensors must share a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import onnx

from byoc.quant.float_graph import FloatGraph
from byoc.quant.keep import kept_nodes
from byoc.quant.layer_kinds import ACTIVATIONS, AVERAGES, MOVES, clip_limits, followers, layer_kind

_NOT_NEGATIVE = frozenset({"Relu", "Sigmoid", "Softmax", "HardSigmoid", "Abs", "Exp"})
_KEEPS_SIGN = MOVES | AVERAGES | {"Concat", "Add", "Mul"}
_RESCALES = frozenset({"BatchNormalization", "Add", "Sub", "Mul", "Div", "Relu", "Clip"})


@dataclass(frozen=True)
class Layer:
    """Nodes that are quantised as one: only the result of the last is rounded.

    ``kind``: ``weighted`` (has constant weights), ``move``, ``average``, ``add`` or ``concat``.
    """

    nodes: tuple[onnx.NodeProto, ...]
    kind: str

    @property
    def root(self) -> onnx.NodeProto:
        """The node with the weights, or the only node."""
        return self.nodes[0]

    @property
    def name(self) -> str:
        return str(self.root.name)

    @property
    def op_type(self) -> str:
        return str(self.root.op_type)

    @property
    def output(self) -> str:
        """The tensor that is rounded."""
        return str(self.nodes[-1].output[0])

    @property
    def before_activation(self) -> str:
        """The result without its ReLU or Clip."""
        return str([node for node in self.nodes if node.op_type not in ACTIVATIONS][-1].output[0])

    @property
    def bias(self) -> str:
        """The constant that is added, or ``""``."""
        if self.kind != "weighted":
            return ""
        if len(self.root.input) > 2:
            return str(self.root.input[2])
        for node in self.nodes[1:]:
            if node.op_type == "Add":
                return str(node.input[1] if node.input[0] == self.root.output[0] else node.input[0])
        return ""

    def inputs(self, graph: FloatGraph) -> list[str]:
        """The tensors that it reads and that are no constants, in order."""
        inside = {name for node in self.nodes for name in node.output}
        found = [i for node in self.nodes for i in node.input if i and i not in graph.constants and i not in inside]
        return list(dict.fromkeys(found))


@dataclass
class Layers:
    """The layers of a graph in topological order, and why other nodes stay float.

    ``steps`` maps a tensor to others of the same step (a set shared by its members), ``types`` likewise to those
    of the same integer type; ``unsigned`` names tensors that are never negative.
    """

    layers: list[Layer]
    float_nodes: dict[str, str]
    tensors: list[str] = field(default_factory=list)
    steps: list[set[str]] = field(default_factory=list)
    types: list[set[str]] = field(default_factory=list)
    unsigned: set[str] = field(default_factory=set)

    def by_node(self) -> dict[str, Layer]:
        return {node.name: layer for layer in self.layers for node in layer.nodes}


def find_layers(graph: FloatGraph, keep: Sequence[str] = ()) -> Layers:
    """Divide a graph into layers.

    Parameters
    ----------
    keep: nodes to leave in float: ``NODE``, ``op:TYPE`` or ``/regex/``.

    Raises :class:`UsageError` for an entry of `keep` that names nothing.
    """
    reasons = kept_nodes(graph, keep)
    candidates = _candidates(graph, reasons)
    candidates = _connected(graph, candidates, reasons)
    inside = {node.name for layer in candidates for node in layer.nodes}
    for node in graph.nodes:
        if node.name not in inside:
            reasons.setdefault(node.name, f"{node.op_type} has no integer form here")
    found = Layers(candidates, {n.name: reasons[n.name] for n in graph.nodes if n.name not in inside})
    tensors = dict.fromkeys(t for layer in candidates for t in (*layer.inputs(graph), layer.output))
    found.tensors = list(tensors)
    found.unsigned = _unsigned(graph)
    found.steps, found.types = _shared(graph, found)
    return found


def _candidates(graph: FloatGraph, reasons: dict[str, str]) -> list[Layer]:
    """Layers by the form of their nodes alone."""
    counts = graph.read_counts()
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    taken: set[str] = set()
    layers = []
    for node in graph.nodes:
        if node.name in taken or node.name in reasons:
            continue
        kind, reason = layer_kind(graph, node)
        if not kind:
            reasons[node.name] = reason
            continue
        nodes = [node]
        if kind in ("weighted", "add"):
            nodes += followers(graph, node, kind, counts, readers, reasons)
        taken.update(n.name for n in nodes)
        layers.append(Layer(tuple(nodes), kind))
    return layers


def _connected(graph: FloatGraph, layers: list[Layer], reasons: dict[str, str]) -> list[Layer]:
    """Without layers that read floats alone, and moves that lead from or to no layer that computes.

    A sum or concatenation whose result some layer reads may have floats beside integers, which are rounded for it; an
    average may have a float that `_is_rescaled`.
    """
    while True:
        made = {layer.output for layer in layers} | {value.name for value in graph.inputs if _is_float(value)}
        kept, dropped = [], False
        wanted = _wanted(graph, layers)
        for layer in layers:
            missing = [i for i in layer.inputs(graph) if i not in made]
            mixed = layer.kind in ("add", "concat") and len(missing) < len(layer.inputs(graph))
            rescaled = layer.kind == "average" and all(_is_rescaled(graph, name, made) for name in missing)
            if missing and layer.kind != "weighted" and not ((mixed or rescaled) and layer.output in wanted):
                reason = f"its input {missing[0]} is float"
            elif layer.kind == "move" and layer.output not in wanted:
                reason = "nothing that is quantised reads it"
            else:
                kept.append(layer)
                continue
            dropped = True
            reasons.update(dict.fromkeys((node.name for node in layer.nodes), reason))
        layers = kept
        if not dropped:
            return layers


def _is_rescaled(graph: FloatGraph, name: str, made: set[str]) -> bool:
    """Whether a float scales and shifts what layers have made: rounded, it is an integer op of single pixels.

    A batch normalisation after a concatenation, with a ReLU, is such.
    """
    producers = graph.producers()
    while name not in made:
        node = producers.get(name)
        data = [] if node is None else [i for i in node.input if i and i not in graph.constants]
        if node is None or node.op_type not in _RESCALES or len(data) != 1:
            return False
        name = data[0]
    return True


def _wanted(graph: FloatGraph, layers: list[Layer]) -> set[str]:
    return {name for layer in layers for name in layer.inputs(graph)}


def _is_float(value: onnx.ValueInfoProto) -> bool:
    return value.type.tensor_type.elem_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)


def _unsigned(graph: FloatGraph) -> set[str]:
    found: set[str] = set()
    for node in graph.nodes:
        parts = [i for i in node.input[: None if node.op_type in ("Concat", "Add", "Mul") else 1] if i]
        clipped = node.op_type == "Clip" and clip_limits(graph, node) is not None
        same = node.op_type in _KEEPS_SIGN and all(
            i in found or (i in graph.constants and bool((graph.constants[i] >= 0).all())) for i in parts
        )
        if clipped or same or node.op_type in _NOT_NEGATIVE:
            found.update(node.output)
    return found


def _shared(graph: FloatGraph, found: Layers) -> tuple[list[set[str]], list[set[str]]]:
    """(tensors of one step, tensors of one type): what is moved or concatenated shares both, what is added the step."""
    steps: dict[str, set[str]] = {name: {name} for name in found.tensors}
    types: dict[str, set[str]] = {name: {name} for name in found.tensors}
    for layer in found.layers:
        members = layer.inputs(graph)
        if layer.kind in ("move", "concat"):
            _unite(steps, [*members, layer.output])
            if layer.op_type != "Relu":
                _unite(types, [*members, layer.output])
        elif layer.kind == "add":
            _unite(steps, members)
    return list({id(s): s for s in steps.values()}.values()), list({id(s): s for s in types.values()}.values())


def _unite(groups: dict[str, set[str]], members: list[str]) -> None:
    united = set().union(*(groups[name] for name in members))
    for name in united:
        groups[name] = united
