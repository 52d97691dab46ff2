"""Batch normalisation, and a scale or an offset of each channel, into the weights and bias of the op before it."""

from __future__ import annotations

import numpy as np
import onnx

from byoc.quant.float_graph import FloatGraph, attribute, inferred_shapes


def fold_affine(graph: FloatGraph) -> None:
    """Fold ``y = op(x, w, b) * scale + shift`` into ``op(x, w * scale, b * scale + shift)``, in float64.

    The op is a convolution, or a product of a matrix with constant weights (a `MatMul` of matrices becomes a `Gemm`
    when it gains a bias); nothing else may read its result.
    """
    _gemm_from_matmul(graph)
    changed = True
    while changed:
        changed = False
        producers, counts = graph.producers(), graph.read_counts()
        for node in graph.nodes:
            source = next((producers[i] for i in node.input if i in producers), None)
            if source is None or not _is_foldable(graph, source) or counts[source.output[0]] != 1:
                continue
            affine = _affine(graph, node, source)
            if affine is not None:
                _absorb(graph, source, *affine)
                source.output[0] = node.output[0]
                graph.nodes.remove(node)
                changed = True
                break


def _gemm_from_matmul(graph: FloatGraph) -> None:
    """Products of matrices as `Gemm`, which has a bias."""
    shapes = inferred_shapes(graph)
    for node in graph.nodes:
        if node.op_type == "MatMul" and node.input[1] in graph.constants:
            weight = graph.constants[node.input[1]]
            if weight.ndim == 2 and len(shapes.get(node.input[0], ())) == 2:
                node.op_type = "Gemm"


def _is_foldable(graph: FloatGraph, node: onnx.NodeProto) -> bool:
    if node.op_type not in ("Conv", "Gemm") or node.input[1] not in graph.constants:
        return False
    if len(node.input) > 2 and node.input[2] and node.input[2] not in graph.constants:
        return False
    plain = attribute(node, "alpha", 1.0) == 1.0 and attribute(node, "beta", 1.0) == 1.0
    return node.op_type == "Conv" or (plain and not attribute(node, "transA", 0))


def output_axis(node: onnx.NodeProto) -> int:
    """The axis of the weight along which the channels of the result lie."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    return -1


def _affine(graph: FloatGraph, node: onnx.NodeProto, source: onnx.NodeProto) -> tuple[np.ndarray, np.ndarray] | None:
    """(scale, shift) of each channel that `node` applies to the result of `source`, or None."""
    if node.op_type == "BatchNormalization":
        if not all(i in graph.constants for i in node.input[1:5]) or any(node.output[1:]):
            return None
        gamma, beta, mean, variance = (graph.constants[i].astype("float64") for i in node.input[1:5])
        scale = gamma / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
        return scale, beta - mean * scale
    if node.op_type not in ("Add", "Sub", "Mul", "Div"):
        return None
    left, right = node.input
    other = right if left == source.output[0] else left
    if other not in graph.constants or (node.op_type in ("Sub", "Div") and other == left):
        return None
    channels = graph.constants[source.input[1]].shape[output_axis(source)]
    vector = _per_channel(graph, graph.constants[other], source, channels)
    if vector is None:
        return None
    if node.op_type in ("Add", "Sub"):
        return np.ones(channels), vector if node.op_type == "Add" else -vector
    return (vector if node.op_type == "Mul" else 1.0 / vector), np.zeros(channels)


def _per_channel(graph: FloatGraph, array: np.ndarray, source: onnx.NodeProto, channels: int) -> np.ndarray | None:
    rank = graph.constants[source.input[1]].ndim
    axis = 1
    if array.size == 1 and array.ndim <= rank:
        return np.full(channels, float(array.reshape(-1)[0]))
    shape = (1,) * (rank - array.ndim) + array.shape
    if array.ndim > rank or shape[axis] != channels or array.size != channels:
        return None
    return array.astype("float64").reshape(-1)


def _absorb(graph: FloatGraph, source: onnx.NodeProto, scale: np.ndarray, shift: np.ndarray) -> None:
    weight = graph.constants[source.input[1]]
    spread = [1] * weight.ndim
    spread[output_axis(source) % weight.ndim] = -1
    channels = weight.shape[output_axis(source)]
    bias = np.zeros(channels)
    if len(source.input) > 2 and source.input[2]:
        bias = np.broadcast_to(graph.constants[source.input[2]].astype("float64").reshape(-1), channels)
    names = {"weight": f"{source.name}_folded_weight", "bias": f"{source.name}_folded_bias"}
    graph.constants[names["weight"]] = (weight.astype("float64") * scale.reshape(spread)).astype(weight.dtype)
    graph.constants[names["bias"]] = (bias * scale + shift).astype(weight.dtype)
    data = source.input[0]
    del source.input[:]
    source.input.extend([data, names["weight"], names["bias"]])
