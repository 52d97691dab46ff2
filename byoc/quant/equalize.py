"""Channels between a convolution and a depthwise one brought to one range, at no cost in weights.

``relu(s * x) = s * relu(x)`` for ``s > 0``: a factor of each channel may go into the weights before a ReLU and its
inverse into those behind it (Nagel et al., ICCV 2019, section 4.1).  Each filter of a depthwise convolution has a
step of its own, which takes the inverse up without loss; the tensor between is then rounded as if each channel had a
threshold of its own.  Other layers have steps for channels of their results only: they would lose what is gained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from byoc.quant.evaluate import Evaluator
from byoc.quant.float_graph import FloatGraph, attribute

# A channel of a smaller range than the largest one over this is lost in any case; its bias must fit 32 bits.
_LARGEST_FACTOR = 256.0


@dataclass(frozen=True)
class Pair:
    """A convolution, its result (perhaps after a ReLU), and the depthwise convolution that alone reads it."""

    before: onnx.NodeProto
    tensor: str
    depthwise: onnx.NodeProto


def equalize_channels(graph: FloatGraph, runs: Sequence[Mapping[str, np.ndarray]]) -> tuple[str, ...]:
    """Rescale channels of `graph` in place so that all of a tensor have the same largest magnitude in `runs`.

    What the graph computes stays the same but for float rounding.  Returns the names of the tensors, all of which have
    the channels along axis 1.
    """
    pairs = _pairs(graph)
    for pair, peaks in zip(pairs, _peaks(graph, pairs, runs), strict=True):
        largest = peaks.max()
        if largest > 0 and np.isfinite(largest):
            _rescale(graph, pair, largest / np.maximum(peaks, largest / _LARGEST_FACTOR))
    return tuple(pair.tensor for pair in pairs)


def _pairs(graph: FloatGraph) -> list[Pair]:
    counts = graph.read_counts()
    reader = {name: node for node in graph.nodes for name in node.input}
    found = []
    for node in graph.nodes:
        if not _has_constant_weights(graph, node):
            continue
        tensor, chain = node.output[0], [node]
        while counts[tensor] == 1 and tensor in reader and len(chain) < 3:
            chain.append(reader[tensor])
            if chain[-1].op_type != "Relu":
                break
            tensor = chain[-1].output[0]
        last = chain[-1]
        if last is not node and counts[tensor] == 1 and last.input[0] == tensor and _is_depthwise(graph, last):
            found.append(Pair(node, tensor, last))
    return found


def _has_constant_weights(graph: FloatGraph, node: onnx.NodeProto) -> bool:
    constants = [name for name in node.input[1:] if name]
    return node.op_type == "Conv" and all(name in graph.constants for name in constants)


def _is_depthwise(graph: FloatGraph, node: onnx.NodeProto) -> bool:
    return (
        _has_constant_weights(graph, node)
        and attribute(node, "group", 1) > 1
        and (graph.constants[node.input[1]].shape[1] == 1)
    )


def _peaks(graph: FloatGraph, pairs: Sequence[Pair], runs: Sequence[Mapping[str, np.ndarray]]) -> list[np.ndarray]:
    """The largest magnitude of each channel of each pair's tensor, float64[channels]."""
    if not pairs:
        return []
    nodes, results = list(graph.nodes), []
    for pair in pairs:
        magnitude, peak = f"{pair.tensor}_magnitude", f"{pair.tensor}_peak"
        nodes.append(helper.make_node("Abs", [pair.tensor], [magnitude], magnitude))
        nodes.append(helper.make_node("GlobalMaxPool", [magnitude], [peak], peak))
        results.append(onnx.ValueInfoProto(name=peak))
    evaluator = Evaluator(graph.to_model(nodes, outputs=results))
    found = [evaluator(run) for run in runs]
    return [_by_channel(peaks) for peaks in zip(*found, strict=True)]


def _by_channel(peaks: Sequence[np.ndarray]) -> np.ndarray:
    """float[N, C, 1...] of each run as float64[C]."""
    return np.max([p.reshape(*p.shape[:2]).max(axis=0) for p in peaks], axis=0).astype("float64")


def _rescale(graph: FloatGraph, pair: Pair, factors: np.ndarray) -> None:
    """Multiply what `pair.before` gives by `factors`, float64[channels], and divide the filters that read it."""
    before, depthwise = pair.before, pair.depthwise
    for index in range(1, len(before.input)):
        if before.input[index]:
            _multiply(graph, before, index, factors)
    filters = graph.constants[depthwise.input[1]].shape[0] // len(factors)
    _multiply(graph, depthwise, 1, 1 / np.repeat(factors, filters))


def _multiply(graph: FloatGraph, node: onnx.NodeProto, index: int, factors: np.ndarray) -> None:
    """A constant of `node` times factors along axis 0, as a constant of its own."""
    array = graph.constants[node.input[index]]
    name = f"{node.name}_equalized_{'weight' if index == 1 else 'bias'}"
    spread = factors.reshape(-1, *[1] * (array.ndim - 1))
    graph.constants[name] = (array.astype("float64") * spread).astype(array.dtype)
    node.input[index] = name
