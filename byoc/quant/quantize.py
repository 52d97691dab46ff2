"""`byoc.quantize`: a float model and a batch in, a quantised model out."""

from __future__ import annotations

from collections.abc import Sequence

from byoc.errors import QuantizationError
from byoc.importer.source import ModelSource, read_model
from byoc.importer.tensors import TensorReader
from byoc.quant.calibrate import Progress, calibrated
from byoc.quant.data import CalibrationData, checked_runs, read_batches
from byoc.quant.equalize import equalize_channels
from byoc.quant.float_graph import drop_dead, float_graph, inferred_shapes
from byoc.quant.fold_affine import fold_affine
from byoc.quant.layers import find_layers
from byoc.quant.qdq import quantised_weights, write_qdq
from byoc.quant.result import QuantizedModel
from byoc.quant.sensitivity import keep_until
from byoc.quant.settings import Settings


def quantize(
    model: ModelSource,
    calibrate: CalibrationData,
    *,
    method: str = Settings.method,
    per_channel: bool = Settings.per_channel,
    bits: int = Settings.bits,
    power_of_two: bool = Settings.power_of_two,
    progressive: bool = Settings.progressive,
    bias_correction: bool | None = Settings.bias_correction,
    equalize: bool | None = Settings.equalize,
    multiplier_bits: int = Settings.multiplier_bits,
    keep: Sequence[str] = (),
    auto_keep: float | None = None,
    progress: Progress | None = None,
) -> QuantizedModel:
    """Quantise a float ONNX model after training; one batch of inputs is enough.

    Parameters
    ----------
    model: path of an ONNX file, its bytes, or a ``ModelProto``.
    calibrate: an ``.npz`` file or a folder of them, arrays by input name, or an iterable of such mappings.
    method, per_channel, bits, power_of_two, progressive, bias_correction, equalize, multiplier_bits, keep: see
        :class:`byoc.quant.Settings`.
    auto_keep: leave layers in float, the most costly first, until int8 and float disagree (in the largest output, or
        for a single output in its relative error) on at most so many percent of the calibration data.

    Raises
    ------
    ModelError: the model cannot be read, is quantised already, or has nothing to quantise.
    CalibrationError: the data does not fit the model, or is not finite, or zero throughout.
    UsageError: an unknown method, width, or entry of `keep`.
    """
    settings = Settings(
        method, per_channel, bits, power_of_two, progressive, bias_correction, equalize, multiplier_bits, tuple(keep)
    )
    source = read_model(model)
    reader = TensorReader(source.folder)
    graph = float_graph(source.proto, reader, bits)
    fold_affine(graph)
    runs = checked_runs(read_batches(calibrate), graph.inputs)
    if settings.equalizes:
        equalize_channels(graph, runs)
    drop_dead(graph)
    graph.shapes = inferred_shapes(graph)
    layers = find_layers(graph, settings.keep)
    if not any(layer.kind == "weighted" for layer in layers.layers):
        reason = next((f"{name}: {why}" for name, why in layers.float_nodes.items()), "it has no nodes")
        raise QuantizationError("nothing in the model can be quantised", reason, "see docs/quantise.md for what can")
    found = calibrated(graph, layers, runs, settings, progress)
    weights = quantised_weights(graph, layers, found.ranges, found.biases, settings)
    notes = (*found.notes, *(note for w in weights.values() for note in w.notes))
    proto = write_qdq(graph, layers, found.ranges, weights, settings)
    quantised = QuantizedModel(proto, graph, layers, found.ranges, weights, settings, tuple(runs), notes)
    return quantised if auto_keep is None else keep_until(quantised, auto_keep, progress)
