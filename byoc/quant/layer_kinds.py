"""What a node can be quantised as, by the form of it and of those that follow it."""

from __future__ import annotations

import onnx

from byoc.quant.float_graph import FloatGraph, attribute

# Ops whose result holds values of their input alone, so that it keeps the input's step.
MOVES = frozenset(
    {"Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "MaxPool", "Relu", "Pad", "DepthToSpace",
     "SpaceToDepth", "Expand", "Tile", "Gather", "GlobalMaxPool", "Split"}
)  # fmt: skip
ACTIVATIONS = frozenset({"Relu", "Clip"})
AVERAGES = frozenset({"AveragePool", "GlobalAveragePool", "ReduceMean"})


def layer_kind(graph: FloatGraph, node: onnx.NodeProto) -> tuple[str, str]:
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


def followers(
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
