"""Write a quantised graph as standard ONNX: QuantizeLinear and DequantizeLinear around float operators."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper

from byoc.quant.float_graph import FloatGraph
from byoc.quant.layers import Layer, Layers
from byoc.quant.ranges import Range
from byoc.quant.settings import Settings
from byoc.quant.weights import QuantisedWeights, quantise_weights


def quantised_weights(
    graph: FloatGraph,
    found: Layers,
    ranges: Mapping[str, Range],
    biases: Mapping[str, np.ndarray],
    settings: Settings,
) -> dict[str, QuantisedWeights]:
    """The integers of every layer with weights, by the layer's name; `biases` replace those of the float model."""
    result = {}
    for layer in found.layers:
        if layer.kind == "weighted":
            source = ranges[layer.root.input[0]]
            bias = biases.get(layer.name, graph.constants[layer.bias]) if layer.bias else None
            levels = settings.levels(source.unsigned)
            weight = graph.constants[layer.root.input[1]]
            result[layer.name] = quantise_weights(weight, bias, layer, source.step, levels, settings)
    return result


def write_qdq(
    graph: FloatGraph,
    found: Layers,
    ranges: Mapping[str, Range],
    weights: Mapping[str, QuantisedWeights],
    settings: Settings,
) -> onnx.ModelProto:
    """The quantised model: float operators between DequantizeLinear and QuantizeLinear, weights stored as integers."""
    return _Writer(graph, found, ranges, weights, settings).write()


class _Writer:
    def __init__(
        self,
        graph: FloatGraph,
        found: Layers,
        ranges: Mapping[str, Range],
        weights: Mapping[str, QuantisedWeights],
        settings: Settings,
    ) -> None:
        self.graph, self.found, self.ranges = graph, found, ranges
        self.weights, self.settings = weights, settings
        self.nodes: list[onnx.NodeProto] = []
        self.constants = dict(graph.constants)
        self.dequantised: dict[str, str] = {}
        self.outputs = {value.name for value in graph.outputs}

    def write(self) -> onnx.ModelProto:
        layer_of = self.found.by_node()
        computed = {layer.output for layer in self.found.layers}
        read = {name for layer in self.found.layers for name in layer.inputs(self.graph)}
        for value in self.graph.inputs:
            if value.name in read:
                self._round(value.name, value.name)
        for node in self.graph.nodes:
            layer = layer_of.get(node.name)
            if layer is None:
                self._copy_float(node, computed)
                for name in node.output:
                    if name in read:
                        self._round(name, name)
            else:
                self._copy_layer(node, layer)
        return self.graph.to_model(self.nodes, self.constants)

    def _copy_float(self, node: onnx.NodeProto, computed: set[str]) -> None:
        """A float node reads floats as they are, and what a layer computes after rounding."""
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for index, name in enumerate(copy.input):
            if name in computed:
                copy.input[index] = self.dequantised[name]
        self.nodes.append(copy)

    def _copy_layer(self, node: onnx.NodeProto, layer: Layer) -> None:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        constants = {}
        if layer.kind == "weighted":
            weights = self.weights[layer.name]
            constants[layer.root.input[1]] = ("weight", weights.weight, weights.step, weights.axis)
            if layer.bias and weights.bias is not None:
                step = weights.step * self.ranges[layer.root.input[0]].step
                constants[layer.bias] = ("bias", weights.bias, np.broadcast_to(step, weights.bias.shape), 0)
        for index, name in enumerate(copy.input):
            if name in constants:
                copy.input[index] = self._integer_constant(layer, *constants[name])
            elif name in self.dequantised:
                copy.input[index] = self.dequantised[name]
        last = node is layer.nodes[-1] or node.name == layer.nodes[-1].name
        if last:
            copy.output[0] = f"{layer.output}_unrounded"
        self.nodes.append(copy)
        if last:
            self._round(copy.output[0], layer.output)

    def _round(self, source: str, name: str) -> None:
        """QuantizeLinear and DequantizeLinear after `source`; the rounded tensor stands for `name`."""
        found = self.ranges[name]
        scale, zero = f"{name}_scale", f"{name}_zero_point"
        self.constants[scale] = np.array(found.step, "float32")
        self.constants[zero] = np.array(0, self.settings.dtype(found.unsigned))
        rounded = name if name in self.outputs and source != name else f"{name}_dequantized"
        self.nodes.append(
            helper.make_node("QuantizeLinear", [source, scale, zero], [f"{name}_quantized"], f"{name}_quantize")
        )
        self.nodes.append(
            helper.make_node("DequantizeLinear", [f"{name}_quantized", scale, zero], [rounded], f"{name}_dequantize")
        )
        self.dequantised[name] = rounded

    def _integer_constant(self, layer: Layer, what: str, integers: np.ndarray, step: np.ndarray, axis: int) -> str:
        """A constant stored as integers, and the DequantizeLinear that reads it."""
        base = f"{layer.name}_{what}"
        per_tensor = step.size == 1 or (what == "bias" and np.unique(step).size == 1)
        steps = np.array(step.reshape(-1)[0], "float32") if per_tensor else step.astype("float32")
        self.constants[f"{base}_quantized"] = integers
        self.constants[f"{base}_scale"] = steps
        self.constants[f"{base}_zero_point"] = np.zeros(steps.shape, integers.dtype)
        inputs = [f"{base}_quantized", f"{base}_scale", f"{base}_zero_point"]
        attributes = {} if per_tensor else {"axis": axis}
        self.nodes.append(
            helper.make_node("DequantizeLinear", inputs, [f"{base}_dequantized"], f"{base}_dequantize", **attributes)
        )
        return f"{base}_dequantized"
