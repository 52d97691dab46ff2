"""Linear layers that AWQ quantised, kept for the next compilation that differs in the cache's format only."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from byoc.cache import Cache
from byoc.llm import awq, calibrate, float_model, weights
from byoc.llm.calibrate import FixedScales
from byoc.llm.settings import Settings
from byoc.llm.tensors import ModelTensors
from byoc.llm.weights import PackedWeights, WeightSpec

_NAME = "awq.npz"
_MADE_BY = (awq, calibrate, float_model, weights)


def calibrated(tensors: ModelTensors, settings: Settings, model_files: str, cache: Cache | None) -> FixedScales:
    """As :func:`calibrate` does it, with what AWQ makes of the layers taken from the cache, or kept there.

    model_files: SHA-256 of the model's files.
    """
    if cache is None or settings.weights.method != "awq" or not settings.calibration:
        return calibrate.calibrate(tensors, settings)
    ids = np.asarray(settings.calibration, "<i8").tobytes()
    sources = "".join(inspect.getsource(module) for module in _MADE_BY)
    key = Cache.key(sources, model_files, str(settings.weights), str(settings.context), ids)
    entry = cache.get(key, _NAME)
    if entry is not None:
        # The scales of caches come from the float model, and so before its layers are replaced.
        scales = calibrate.calibrate(tensors, replace(settings, weights=WeightSpec()))
        _restore(tensors, entry)
        return scales
    scales = calibrate.calibrate(tensors, settings)
    cache.put(key, _NAME, lambda path: _save(tensors, path))
    return scales


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
