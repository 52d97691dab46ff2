"""Thresholds of activations from calibration data.

Layer by layer, as in Settle et al. (arXiv 1805.07941): a layer runs on the rounded results of the layers before it,
with rounded weights and a float bias; its threshold is read off what it computes, which is then rounded in turn.  The
bias is first moved so that the mean of each channel is what it is in float (Nagel et al., ICCV 2019, section 4.2, with
data).  The one-pass mode reads all thresholds off one run of the float model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import helper

from byoc.errors import CalibrationError
from byoc.quant.evaluate import Evaluator
from byoc.quant.float_graph import FloatGraph, all_inputs
from byoc.quant.layer_kinds import ACTIVATIONS
from byoc.quant.layers import Layer, Layers
from byoc.quant.observers import OBSERVERS, power_of_two_step
from byoc.quant.ranges import Range, magnitudes_of, rounded_to, snr
from byoc.quant.settings import Settings
from byoc.quant.weights import quantise_weights

Progress = Callable[[str, int, int], None]
Values = dict[str, list[np.ndarray]]
_HISTOGRAM_BINS = 60


@dataclass(frozen=True)
class Calibrated:
    """The range of every tensor that is rounded, the biases of layers that were corrected, and notes on what is odd."""

    ranges: dict[str, Range]
    biases: dict[str, np.ndarray]
    notes: list[str]


def calibrated(
    graph: FloatGraph,
    found: Layers,
    runs: Sequence[Mapping[str, np.ndarray]],
    settings: Settings,
    progress: Progress | None = None,
) -> Calibrated:
    """What the data says about the tensors of a graph.

    Raises :class:`CalibrationError` when the model computes values that are not finite from the data.
    """
    return _Calibration(graph, found, settings, progress or (lambda *_: None)).run(runs)


class _Calibration:
    def __init__(self, graph: FloatGraph, found: Layers, settings: Settings, progress: Progress) -> None:
        self.graph, self.found, self.settings, self.progress = graph, found, settings, progress
        self.ranges: dict[str, Range] = {}
        self.biases: dict[str, np.ndarray] = {}
        self.notes: list[str] = []
        self.unsigned = set(found.unsigned)
        self.floats: Values = {}
        self.rounded: Values = {}
        self.moved = {layer.output: layer.inputs(graph)[0] for layer in found.layers if layer.kind == "move"}

    def run(self, runs: Sequence[Mapping[str, np.ndarray]]) -> Calibrated:
        for value in self.graph.inputs:
            self.floats[value.name] = self.rounded[value.name] = [run[value.name] for run in runs]
            if all((array >= 0).all() for array in self.floats[value.name]):
                self._extend_unsigned(value.name)
        for value in self.graph.inputs:
            if value.name in self.found.tensors:
                self._observe(value.name, "minmax" if self.settings.method == "klj" else self.settings.method)
        last = self._last_reads()
        units = self._units()
        for index, (nodes, layer) in enumerate(units):
            self.progress("calibrate", index, len(units))
            self._step(nodes, layer)
            for name in last.get(index, ()):
                self.floats.pop(name, None)
                self.rounded.pop(name, None)
        return Calibrated(self._shared(), self.biases, self.notes)

    def _extend_unsigned(self, name: str) -> None:
        self.unsigned.add(name)
        for layer in self.found.layers:
            if layer.kind in ("move", "average") and layer.inputs(self.graph)[0] in self.unsigned:
                self.unsigned.add(layer.output)

    def _units(self) -> list[tuple[tuple[onnx.NodeProto, ...], Layer | None]]:
        """Layers, and float nodes one by one, in an order in which all can run."""
        layer_of = self.found.by_node()
        position = {node.name: index for index, node in enumerate(self.graph.nodes)}
        units: list[tuple[int, tuple[onnx.NodeProto, ...], Layer | None]] = []
        units += [(max(position[n.name] for n in layer.nodes), layer.nodes, layer) for layer in self.found.layers]
        units += [(position[n.name], (n,), None) for n in self.graph.nodes if n.name not in layer_of]
        return [(nodes, layer) for _, nodes, layer in sorted(units, key=lambda unit: unit[0])]

    def _last_reads(self) -> dict[int, list[str]]:
        last: dict[str, int] = {}
        for index, (nodes, _) in enumerate(self._units()):
            for node in nodes:
                last.update(dict.fromkeys(all_inputs(node), index))
        found: dict[int, list[str]] = {}
        for name, index in last.items():
            found.setdefault(index, []).append(name)
        return found

    def _step(self, nodes: tuple[onnx.NodeProto, ...], layer: Layer | None) -> None:
        outputs = [layer.output] if layer else [name for name in nodes[0].output if name]
        corrected = layer is not None and bool(layer.bias) and self.settings.corrects_biases
        inside = {name for node in nodes for name in node.output}
        needed = {name for node in nodes for name in all_inputs(node)} - inside
        inputs = sorted(name for name in needed if name in self.floats)
        before = [layer.before_activation] if layer is not None and corrected else []
        results = self._evaluate(
            nodes, inputs, list(dict.fromkeys(outputs + before)), self.graph.constants, self.floats
        )
        wanted = results[before[0]] if before else []
        results = {name: results[name] for name in outputs}
        self.floats.update(results)
        if not self.settings.progressive:
            self.rounded.update(results)
        elif layer is None:
            same = all(self.rounded[i] is self.floats[i] for i in inputs)
            rounded = self.rounded if not same else self.floats
            self.rounded.update(
                results if same else self._evaluate(nodes, inputs, outputs, self.graph.constants, rounded)
            )
        else:
            constants = self._rounded_constants(layer)
            if corrected:
                constants = {**constants, layer.bias: self._corrected_bias(layer, inputs, constants, wanted)}
            self.rounded.update(self._evaluate(nodes, inputs, outputs, constants, self.rounded))
        if layer is not None:
            self._observe(layer.output, self.settings.method)
        for name in outputs:  # a float node's result that a layer reads
            if layer is None and name in self.found.tensors:
                self._observe(name, self.settings.method)

    def _corrected_bias(
        self, layer: Layer, inputs: Sequence[str], constants: Mapping[str, np.ndarray], wanted: Sequence[np.ndarray]
    ) -> np.ndarray:
        """The bias with which each channel of a layer, before a ReLU or Clip, has the mean that `wanted` has."""
        nodes = [node for node in layer.nodes if node.op_type not in ACTIVATIONS]
        name = layer.before_activation
        found = self._evaluate(nodes, inputs, [name], constants, self.rounded)[name]
        axis = 1 if layer.op_type == "Conv" else wanted[0].ndim - 1
        others = tuple(a for a in range(wanted[0].ndim) if a != axis)
        shifts = [(a - b).mean(others, dtype="float64") for a, b in zip(wanted, found, strict=True)]
        bias = self.graph.constants[layer.bias]
        shift = np.mean(shifts, axis=0)
        corrected = bias + (shift.mean() if bias.size == 1 else shift.reshape(bias.shape))
        self.biases[layer.name] = corrected.astype(bias.dtype)
        return self.biases[layer.name]

    def _evaluate(
        self,
        nodes: Sequence[onnx.NodeProto],
        inputs: Sequence[str],
        outputs: Sequence[str],
        constants: Mapping[str, np.ndarray],
        values: Values,
    ) -> Values:
        described = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(values[name][0].dtype), [None] * values[name][0].ndim
            )
            for name in inputs
        ]
        results = [onnx.ValueInfoProto(name=name) for name in outputs]
        evaluator = Evaluator(self.graph.to_model(nodes, constants, described, results))
        count = len(next(iter(self.floats.values())))
        found = [evaluator({name: values[name][run] for name in inputs}) for run in range(count)]
        return {name: [result[index] for result in found] for index, name in enumerate(outputs)}

    def _rounded_constants(self, layer: Layer) -> Mapping[str, np.ndarray]:
        if layer.kind != "weighted":
            return self.graph.constants
        name = layer.root.input[1]
        source = self.ranges[layer.root.input[0]]
        weights = quantise_weights(
            self.graph.constants[name], None, layer, source.step, self.settings.levels(source.unsigned), self.settings
        )
        return {**self.graph.constants, name: weights.real.astype(self.graph.constants[name].dtype)}

    def _observe(self, name: str, method: str) -> None:
        """Find the range of a tensor, and round the values that later layers read."""
        values, floats = self.rounded[name], self.floats[name]
        magnitudes = magnitudes_of(values)
        peak = float(magnitudes.max()) if magnitudes.size else 0.0
        if not np.isfinite(peak):
            raise CalibrationError(
                f'the tensor "{name}" has values that are not finite when the model runs on the calibration data',
                "",
                "check the data and the model",
            )
        unsigned = name in self.unsigned
        levels = self.settings.levels(unsigned)
        if name in self.moved and self.moved[name] in self.ranges:
            step = self.ranges[self.moved[name]].step
        elif peak <= np.finfo("float32").tiny:
            self.notes.append(f'the tensor "{name}" is zero throughout the calibration data; its threshold is set to 1')
            step = 1.0 / levels
        else:
            threshold = OBSERVERS[method](magnitudes, self.settings.bits, not unsigned)
            step = threshold / levels
            if self.settings.power_of_two:
                step = power_of_two_step(magnitudes, step, levels)
        self.ranges[name] = Range(step * levels, step, unsigned, peak)
        if self.settings.progressive:
            low = 0 if unsigned else -levels
            self.rounded[name] = [rounded_to(v, step, low, levels) for v in values]
        self.ranges[name] = replace(
            self.ranges[name],
            clipped=float(np.mean(magnitudes > step * levels * (1 + 1e-6))) if magnitudes.size else 0.0,
            snr=snr(floats, self.rounded[name]) if self.settings.progressive else float("nan"),
            histogram=tuple(int(c) for c in np.histogram(magnitudes, _HISTOGRAM_BINS, (0.0, peak or 1.0))[0]),
        )

    def _shared(self) -> dict[str, Range]:
        """The ranges after tensors that must share a step or a type do."""
        ranges = dict(self.ranges)
        for group in self.found.types:
            unsigned = all(ranges[name].unsigned for name in group)
            for name in group:
                if ranges[name].unsigned != unsigned:  # twice the step: the threshold stays
                    levels = self.settings.levels(unsigned)
                    step = ranges[name].threshold / levels
                    if self.settings.power_of_two:
                        step = 2.0 ** np.ceil(np.log2(step))
                    ranges[name] = replace(ranges[name], unsigned=unsigned, step=step, threshold=step * levels)
        parts = {name: layer.output for layer in self.found.layers if layer.kind == "concat"
                 for name in layer.inputs(self.graph)}  # fmt: skip
        for group in self.found.steps:
            deciding = [name for name in group if parts.get(name) not in group]
            step = max(ranges[name].step for name in deciding)
            for name in group:
                levels = self.settings.levels(ranges[name].unsigned)
                ranges[name] = replace(ranges[name], step=step, threshold=step * levels)
        return ranges
