"""What a calibration text gave, kept for the next compilation: layers that AWQ quantised, fixed scales of caches."""

from __future__ import annotations

import inspect
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from byoc.cache import Cache
from byoc.llm import awq, calibrate, fixed_scale, float_model, weights
from byoc.llm.calibrate import FixedScales, needs_calibration, scales_needed
from byoc.llm.kv_spec import FixedScale
from byoc.llm.settings import Settings
from byoc.llm.tensors import ModelTensors
from byoc.llm.weights import PackedWeights, WeightSpec

_LAYERS, _SCALES = "awq.npz", "scales.json"
_MADE_BY = (awq, calibrate, fixed_scale, float_model, weights)


def calibrated(tensors: ModelTensors, settings: Settings, model_files: str, cache: Cache | None) -> FixedScales:
    """As :func:`calibrate` does it, with what is in the cache taken from there, and what is not kept there.

    model_files: SHA-256 of the model's files.
    """
    if cache is None or not settings.calibration or not needs_calibration(tensors.config, settings):
        return calibrate.calibrate(tensors, settings)
    ids = np.asarray(settings.calibration, "<i8").tobytes()
    made_from = ("".join(inspect.getsource(module) for module in _MADE_BY), model_files, str(settings.context), ids)
    layers_key = Cache.key(*made_from, str(settings.weights)) if settings.weights.method == "awq" else ""
    scales_key = ""
    if scales_needed(tensors.config, settings) and not settings.fixed_scales:
        scales_key = Cache.key(*made_from, settings.kv_text, str(settings.chunk))
        entry = cache.get(scales_key, _SCALES)
        if entry is not None:
            settings, scales_key = replace(settings, fixed_scales=_read_scales(entry)), ""
    entry = cache.get(layers_key, _LAYERS) if layers_key else None
    if entry is not None:
        # The scales of caches come from the float model, and so before its layers are replaced.
        scales = calibrate.calibrate(tensors, replace(settings, weights=WeightSpec()))
        _restore(tensors, entry)
    else:
        scales = calibrate.calibrate(tensors, settings)
        if layers_key:
            cache.put(layers_key, _LAYERS, lambda path: _save(tensors, path))
    if scales_key:
        cache.put(scales_key, _SCALES, lambda path: _save_scales(scales, path))
    return scales


def _save_scales(scales: FixedScales, path: Path) -> None:
    path.write_text(json.dumps([[asdict(form) for form in layer] for layer in scales]))


def _read_scales(path: Path) -> FixedScales:
    return tuple((FixedScale(**keys), FixedScale(**values)) for keys, values in json.loads(path.read_text()))


def _save(tensors: ModelTensors, path: Path) -> None:
    arrays: dict[str, Any] = {f"floats/{name}": array for name, array in tensors.replaced.items()}
    for name, layer in tensors.quantised.items():
        arrays |= {f"{part}/{name}": getattr(layer, part) for part in ("packed", "scale", "zero", "bits")}
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def _restore(tensors: ModelTensors, path: Path) -> None:
    with np.load(path, allow_pickle=False) as file:
        for key in file.files:
            kind, _, name = key.partition("/")
            if kind == "floats":
                tensors.replace(name, file[key])
            elif kind == "packed":
                scale, zero, bits = (file[f"{part}/{name}"] for part in ("scale", "zero", "bits"))
                tensors.pack(name, PackedWeights(file[key], scale, zero, int(bits)))
