"""A quantised model with everything that is known about how it was made."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from byoc.quant.calibrate import Progress
from byoc.quant.fixed_point import fixed_point
from byoc.quant.float_graph import FloatGraph
from byoc.quant.layers import Layer, Layers
from byoc.quant.ranges import Range
from byoc.quant.settings import Settings
from byoc.quant.weights import QuantisedWeights

if TYPE_CHECKING:
    from byoc.quant.report import Report


@dataclass(frozen=True)
class QuantizedModel:
    """The outcome of :func:`byoc.quantize`.

    Attributes
    ----------
    proto: the model in standard ONNX with QuantizeLinear and DequantizeLinear.
    graph: the float graph that it was made from, batch normalisations folded.
    ranges: range of each rounded tensor.
    weights: integers of each layer with weights.
    runs: the calibration data.
    notes: what is odd, in words.
    """

    proto: onnx.ModelProto
    graph: FloatGraph
    layers: Layers
    ranges: Mapping[str, Range]
    weights: Mapping[str, QuantisedWeights]
    settings: Settings
    runs: tuple[Mapping[str, np.ndarray], ...]
    notes: tuple[str, ...]

    def save(self, path: str | Path) -> None:
        """Write the model to `path`, and its integer parameters beside it as ``<stem>.quant.json``."""
        path = Path(path)
        write_whole(path, self.proto.SerializeToString(deterministic=True))
        write_whole(parameter_file(path), (json.dumps(self.parameters(), indent=1) + "\n").encode())

    def report(self, *, measure: bool = False, progress: Progress | None = None) -> Report:
        """What the quantisation did to each layer.

        With `measure` the model runs once more for each layer with weights, to see what keeping that one in float
        would gain.
        """
        from byoc.quant.report import make_report
        from byoc.quant.sensitivity import costs

        return make_report(self, costs(self, progress) if measure else ())

    def parameters(self) -> dict[str, Any]:
        """The content of ``quant.json``: tensors with their steps, layers with integer multipliers and shifts."""
        return {
            "format": 1,
            "method": self.settings.method,
            "bits": self.settings.bits,
            "multiplier_bits": self.settings.multiplier_bits,
            "per_channel": self.settings.per_channel,
            "power_of_two": self.settings.power_of_two,
            "bias_correction": self.settings.corrects_biases,
            "equalize": self.settings.equalizes,
            "rounding": "half to even",
            "tensors": {name: self._tensor(found) for name, found in sorted(self.ranges.items())},
            "layers": [self._layer(layer) for layer in self.layers.layers],
            "float_nodes": dict(sorted(self.layers.float_nodes.items())),
            "notes": list(self.notes),
        }

    def _tensor(self, found: Range) -> dict[str, Any]:
        return {
            "dtype": self.settings.dtype(found.unsigned),
            "scale": float(np.float32(found.step)),
            "zero_point": 0,
            "threshold": found.threshold,
        }

    def _layer(self, layer: Layer) -> dict[str, Any]:
        inputs = layer.inputs(self.graph)
        factors = self.factors(layer)
        described: dict[str, Any] = {
            "nodes": [node.name for node in layer.nodes],
            "op": layer.op_type,
            "inputs": inputs,
            "output": layer.output,
        }
        if layer.name in self.weights:
            weights = self.weights[layer.name]
            described["weight_scale"] = [float(np.float32(s)) for s in weights.step]
            described["accumulator"] = "int32" if self.settings.bits == 8 else "int64"
        if factors.size:
            fixed = fixed_point(factors, min(self.settings.multiplier_bits, 31 if self.settings.bits == 8 else 16))
            described["multiplier"], described["shift"] = list(fixed.multiplier), list(fixed.shift)
        return described

    def factors(self, layer: Layer) -> np.ndarray:
        """The real factors of a layer's requantisation: one per channel, or one per input; none for moves."""
        out = self.ranges[layer.output].step
        inputs = layer.inputs(self.graph)
        if layer.kind == "weighted":
            weights = self.weights[layer.name]
            return np.asarray(weights.step * (self.ranges[inputs[0]].step / out))
        if layer.kind in ("add", "average"):
            return np.array([self.ranges[name].step / out for name in inputs])
        return np.array([])


def parameter_file(path: Path) -> Path:
    """Where the parameters of a quantised model lie."""
    return path.with_name(f"{path.stem}.quant.json")


def write_whole(path: Path, content: bytes) -> None:
    """Write the whole file or nothing."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
