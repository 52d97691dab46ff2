"""Which parts of a float graph are quantised, as what, and which tensors must share a step."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import onnx

from byoc.errors import UsageError, did_you_mean
from byoc.quant.float_graph import FloatGraph, attribute

# Ops whose result holds values of their input alone, so that it keeps the input's step.
MOVES = frozenset(
    {"Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "MaxPool", "Relu", "Pad", "DepthToSpace",
     "SpaceToDepth", "Expand", "Tile", "Gather", "GlobalMaxPool", "Split"}
)  # fmt: skip
AVERAGES = frozenset({"AveragePool", "GlobalAveragePool", "ReduceMean"})
_NOT_NEGATIVE = frozenset({"Relu", "Sigmoid", "Softmax", "HardSigmoid", "Abs", "Exp"})
_KEEPS_SIGN = MOVES | AVERAGES | {"Concat", "Add", "Mul"}


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


def kept_nodes(graph: FloatGraph, keep: Sequence[str]) -> dict[str, str]:
    """The nodes that `keep` names, each with the reason that it gives.  Raises :class:`UsageError`."""
    reasons: dict[str, str] = {}
    names = [node.name for node in graph.nodes]
    types = {node.op_type for node in graph.nodes}
    for entry in keep:
        if entry.startswith("op:"):
            chosen = [n.name for n in graph.nodes if n.op_type == entry[3:]]
            near = did_you_mean(entry[3:], types)
        elif len(entry) > 1 and entry[0] == entry[-1] == "/" and entry not in names:
            try:
                chosen = [name for name in names if re.search(entry[1:-1], name)]
            except re.error as error:
                raise UsageError(f'keep "{entry}" is no regular expression', str(error)) from None
            near = "check the expression"
        else:
            chosen = [name for name in names if name == entry]
            near = did_you_mean(entry, names)
        if not chosen:
            raise UsageError(f'keep "{entry}" names no node of the model', "", near)
        reasons.update(dict.fromkeys(chosen, f"kept in float ({entry})"))
    return reasons


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
        kind, reason = _kind(graph, node)
        if not kind:
            reasons[node.name] = reason
            continue
        nodes = [node]
        if kind in ("weighted", "add"):
            nodes += _followers(graph, node, kind, counts, readers, reasons)
        taken.update(n.name for n in nodes)
        layers.append(Layer(tuple(nodes), kind))
    return layers


def _kind(graph: FloatGraph, node: onnx.NodeProto) -> tuple[str, str]:
    """The kind of layer that a node starts, or ``""`` and why it starts none."""
    constants = [i in graph.constants for i in node.input]
    if node.op_type in ("Conv", "Gemm", "MatMul"):
        return _weighted_kind(graph, node)
    if node.op_type == "Add":
        shapes = [graph.shapes.get(i) for i in node.input]
        if any(constants):
            return "", "it adds a constant to a tensor that no layer with weights computes"
        if shapes[0] != shapes[1] or shapes[0] is None:
            return "", "it adds tensors of different shapes"
        return "add", ""
    if node.op_type == "Concat":
        return ("", "one of its parts is a constant") if any(constants) else ("concat", "")
    if node.op_type in AVERAGES:
        return _average_kind(graph, node)
    if node.op_type in MOVES and not constants[0] and len([o for o in node.output if o]) == 1:
        if node.op_type == "Pad" and not _pads_zero(graph, node):
            return "", "it pads with something else than zero"
        return "move", ""
    if node.op_type == "Split":
        return "", "Split stays float: its parts are moved as they are"
    return "", f"{node.op_type} has no integer form"


def _weighted_kind(graph: FloatGraph, node: onnx.NodeProto) -> tuple[str, str]:
    if node.input[1] not in graph.constants:
        return "", "it multiplies two activations"
    if node.input[0] in graph.constants:
        return "", "its left operand is a constant"
    if len(node.input) > 2 and node.input[2] and node.input[2] not in graph.constants:
        return "", "its bias is not a constant"
    weight = graph.constants[node.input[1]]
    if weight.dtype.kind != "f" or not weight.size:
        return "", f"its weight is of {weight.dtype}"
    if node.op_type == "Gemm" and (
        attribute(node, "alpha", 1.0) != 1.0 or attribute(node, "beta", 1.0) != 1.0 or attribute(node, "transA", 0)
    ):
        return "", "its alpha, beta or transA is not the default"
    if node.op_type == "MatMul" and weight.ndim != 2:
        return "", f"its weight has rank {weight.ndim}"
    return "weighted", ""


def _average_kind(graph: FloatGraph, node: onnx.NodeProto) -> tuple[str, str]:
    if node.op_type == "ReduceMean":
        axes = attribute(node, "axes")
        if axes is None and len(node.input) > 1 and node.input[1] in graph.constants:
            axes = graph.constants[node.input[1]].tolist()
        shape = graph.shapes.get(node.input[0])
        if axes is None or shape is None or any(not isinstance(shape[a], int) for a in axes):
            return "", "how many elements it averages is not known"
    return "average", ""


def _pads_zero(graph: FloatGraph, node: onnx.NodeProto) -> bool:
    if attribute(node, "mode", b"constant") != b"constant":
        return True
    if len(node.input) < 3 or not node.input[2]:
        return True
    value = graph.constants.get(node.input[2])
    return value is not None and not value.any()


def _followers(
    graph: FloatGraph,
    node: onnx.NodeProto,
    kind: str,
    counts: dict[str, int],
    readers: dict[str, list[onnx.NodeProto]],
    reasons: dict[str, str],
) -> list[onnx.NodeProto]:
    """A bias and a ReLU or Clip that alone read the result."""
    found: list[onnx.NodeProto] = []
    wanted = ["Add", "activation"] if kind == "weighted" and len(node.input) < 3 else ["activation"]
    current = node
    for step in wanted:
        output = current.output[0]
        following = readers.get(output, [])
        if counts.get(output) != 1 or len(following) != 1 or following[0].name in reasons:
            break
        reader = following[0]
        if step == "Add":
            if reader.op_type == "Add" and _is_bias(graph, node, reader):
                found.append(reader)
                current = reader
        elif reader.op_type == "Relu" or (reader.op_type == "Clip" and clip_limits(graph, reader) is not None):
            found.append(reader)
    return found


def _is_bias(graph: FloatGraph, node: onnx.NodeProto, add: onnx.NodeProto) -> bool:
    other = next((i for i in add.input if i in graph.constants), None)
    return (
        node.op_type == "MatMul"
        and other is not None
        and graph.constants[other].shape == graph.constants[node.input[1]].shape[-1:]
    )


def clip_limits(graph: FloatGraph, node: onnx.NodeProto) -> tuple[float, float] | None:
    """The limits of a Clip that starts at zero, which rounding to an unsigned integer does by itself."""
    low = graph.constants.get(node.input[1]) if len(node.input) > 1 else None
    high = graph.constants.get(node.input[2]) if len(node.input) > 2 else None
    if low is None or high is None or float(low) != 0.0:
        return None
    return float(low), float(high)


def _connected(graph: FloatGraph, layers: list[Layer], reasons: dict[str, str]) -> list[Layer]:
    """Without layers that read floats alone, and moves that lead from or to no layer that computes.

    A sum or concatenation whose result some layer reads may have floats beside integers, which are rounded for it.
    """
    while True:
        made = {layer.output for layer in layers} | {value.name for value in graph.inputs if _is_float(value)}
        kept, dropped = [], False
        wanted = _wanted(graph, layers)
        for layer in layers:
            missing = [i for i in layer.inputs(graph) if i not in made]
            mixed = layer.kind in ("add", "concat") and len(missing) < len(layer.inputs(graph))
            if missing and layer.kind != "weighted" and not (mixed and layer.output in wanted):
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
