"""What each layer costs in accuracy: the model runs once more for each layer, with that one kept in float."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx

from byoc.quant.calibrate import Progress
from byoc.quant.evaluate import Evaluator
from byoc.quant.layers import Layer, Layers
from byoc.quant.qdq import write_qdq
from byoc.quant.result import QuantizedModel

# Samples that are enough to rank layers.
_SAMPLES = 32
# For the estimate of time: multiply-adds of a layer at this many float operations a second, and at four times as many
# in integers.
FLOAT_FLOPS = 1.5e11
INTEGER_SPEEDUP = 4.0


@dataclass(frozen=True)
class Cost:
    """What a layer costs.

    ``gain``: decibels that the model's first output gains when this layer alone stays float.  ``seconds``: estimated
    time for one sample that this would cost.
    """

    layer: str
    gain: float
    seconds: float


def without(found: Layers, names: Iterable[str], reason: str) -> Layers:
    """The layers but those of these names, which stay float."""
    chosen = set(names)
    kept = [layer for layer in found.layers if layer.name not in chosen]
    dropped = {node.name: reason for layer in found.layers if layer.name in chosen for node in layer.nodes}
    return replace(found, layers=kept, float_nodes={**found.float_nodes, **dropped})


def kept_in_float(model: QuantizedModel, names: Iterable[str], reason: str) -> QuantizedModel:
    """The same quantisation with more layers in float; nothing is calibrated again."""
    layers = without(model.layers, names, reason)
    proto = write_qdq(model.graph, layers, model.ranges, model.weights, model.settings)
    alive = {layer.name for layer in layers.layers}
    weights = {name: w for name, w in model.weights.items() if name in alive}
    return replace(model, proto=proto, layers=layers, weights=weights)


class Comparison:
    """The float model's first output on the calibration data, and how far others are from it."""

    def __init__(self, model: QuantizedModel, samples: int | None = None) -> None:
        self.runs = _first(model.runs, samples)
        self.reference = self._outputs(model.graph.to_model())

    def _outputs(self, proto: onnx.ModelProto) -> list[np.ndarray]:
        evaluator = Evaluator(proto)
        return [np.asarray(evaluator(run)[0], "float64") for run in self.runs]

    def noise(self, proto: onnx.ModelProto) -> float:
        """Squared difference of the outputs over the squared reference."""
        others = self._outputs(proto)
        signal = sum(float(np.square(a).sum()) for a in self.reference)
        noise = sum(float(np.square(a - b).sum()) for a, b in zip(self.reference, others, strict=True))
        return noise / signal if signal else 0.0

    def disagreement(self, proto: onnx.ModelProto) -> float:
        """Percent of the samples whose largest output is another one; for a single output, the relative error."""
        if any(a.ndim == 0 or a.shape[-1] < 2 for a in self.reference):
            return 100.0 * math.sqrt(self.noise(proto))
        pairs = list(zip(self.reference, self._outputs(proto), strict=True))
        differ = sum(int((a.argmax(-1) != b.argmax(-1)).sum()) for a, b in pairs)
        return 100.0 * differ / sum(a[..., 0].size for a, _ in pairs)


def costs(model: QuantizedModel, progress: Progress | None = None) -> tuple[Cost, ...]:
    """The cost of every layer with weights, the most costly first."""
    comparison = Comparison(model, _SAMPLES)
    base = comparison.noise(model.proto)
    weighted = [layer for layer in model.layers.layers if layer.kind == "weighted"]
    found = []
    for index, layer in enumerate(weighted):
        if progress is not None:
            progress("layers", index, len(weighted))
        alone = comparison.noise(kept_in_float(model, [layer.name], "").proto)
        gain = 10 * math.log10(base / alone) if base > 0 and alone > 0 else 0.0
        found.append(Cost(layer.name, gain, _seconds(model, layer)))
    return tuple(sorted(found, key=lambda cost: -cost.gain))


def keep_until(model: QuantizedModel, points: float, progress: Progress | None = None) -> QuantizedModel:
    """Leave layers in float, the most costly first, until the disagreement with the float model is at most `points`."""
    comparison = Comparison(model)
    before = now = comparison.disagreement(model.proto)
    kept: list[str] = []
    result = model
    ranking: Sequence[Cost] = costs(model, progress) if now > points else ()
    for cost in ranking:
        kept.append(cost.layer)
        result = kept_in_float(model, kept, f"kept in float to stay within {points:g} points")
        now = comparison.disagreement(result.proto)
        if now <= points:
            break
    note = f"int8 and float disagree on {now:.2f}% of the calibration data"
    if kept:
        note += f", {before:.2f}% before {len(kept)} layers were kept in float: {', '.join(kept)}"
    return replace(result, notes=(*model.notes, note))


def _first(runs: Sequence[Mapping[str, np.ndarray]], samples: int | None) -> list[Mapping[str, np.ndarray]]:
    if samples is None:
        return list(runs)
    if len(runs) > 1:
        return list(runs[:samples])
    sizes = {array.shape[0] if array.ndim else 0 for array in runs[0].values()}
    if len(sizes) == 1 and sizes.pop() > samples:
        return [{name: array[:samples] for name, array in runs[0].items()}]
    return list(runs)


def _seconds(model: QuantizedModel, layer: Layer) -> float:
    """Estimated time of one sample that float takes more than integers."""
    flops = 2.0 * multiply_adds(model, layer)
    return flops / FLOAT_FLOPS * (1 - 1 / INTEGER_SPEEDUP)


def multiply_adds(model: QuantizedModel, layer: Layer) -> int:
    """Multiply-adds of a layer for one sample."""
    weight = model.graph.constants[layer.root.input[1]]
    shape = model.graph.shapes.get(layer.root.output[0]) or []
    spatial = shape[2:] if layer.op_type == "Conv" else shape[1:-1]
    return int(weight.size * math.prod(d if isinstance(d, int) else 1 for d in spatial))
