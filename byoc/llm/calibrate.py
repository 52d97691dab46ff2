"""One pass over a calibration text: integers of linear layers by AWQ, and fixed scales of caches."""

from __future__ import annotations

from typing import Any

import numpy as np

from byoc.errors import CalibrationError, UsageError
from byoc.llm.awq import ActivationAware
from byoc.llm.config import ModelConfig
from byoc.llm.fixed_scale import fixed_scales, needs_scale
from byoc.llm.float_model import FloatModel
from byoc.llm.kv_spec import FixedScale
from byoc.llm.settings import Settings
from byoc.llm.tensors import ModelTensors

Array = np.ndarray[Any, Any]
FixedScales = tuple[tuple[FixedScale, FixedScale], ...]
_LENGTH, _MOST = 512, 16  # tokens of a text that the model reads at once, and how many of them


def needs_calibration(config: ModelConfig, settings: Settings) -> list[str]:
    """What of the settings a calibration text is needed for, as the user wrote it."""
    specs = dict.fromkeys(settings.kv_of(i) for i in range(config.layers))
    fixed = [str(s) for s in specs if needs_scale(s.keys) or needs_scale(s.values)]
    return [str(settings.weights)] * (settings.weights.method == "awq") + fixed * (not settings.fixed_scales)


def calibrate(tensors: ModelTensors, settings: Settings) -> FixedScales:
    """Quantise the linear layers in `tensors` where the settings say AWQ; the fixed scales of the caches, or ().

    Layers see what the float layers before them give, as in the paper's code.
    Raises :class:`UsageError` where a text is needed and none is given, :class:`CalibrationError` where it does not
    fit the model.
    """
    config = tensors.config
    needs = needs_calibration(config, settings)
    if not needs:
        return settings.fixed_scales
    if not settings.calibration:
        raise UsageError(
            f"{' and '.join(needs)} {'need' if len(needs) > 1 else 'needs'} a calibration text",
            "scales are chosen by what the model computes on it",
            "add --calibrate FILE; in Python, Settings(calibration=token ids)",
        )
    quantiser = _quantiser(tensors, settings)
    model = FloatModel(tensors)
    x = model.embed(segments(config, settings.calibration))
    scales = []
    for i in range(config.layers):
        seen: dict[str, Array] = {}
        x = model.block(i, x, seen.__setitem__)
        keys, values = seen.pop(f"layers.{i}.keys"), seen.pop(f"layers.{i}.values")
        scales.append(fixed_scales(settings.kv_of(i), keys, values, settings.chunk))
        if quantiser:
            quantiser.block(i, seen)
    if quantiser:
        quantiser.last({"logits": model.before_logits(x)})
    return settings.fixed_scales or (tuple(scales) if scales_needed(config, settings) else ())


def scales_needed(config: ModelConfig, settings: Settings) -> bool:
    """Whether some cache has fixed scales."""
    specs = [settings.kv_of(i) for i in range(config.layers)]
    return any(needs_scale(form) for spec in specs for form in (spec.keys, spec.values))


def segments(config: ModelConfig, calibration: tuple[int, ...]) -> Array:
    """Pieces of the text, evenly spread, as the model is used to reading: int64[pieces, tokens].

    Each begins with the token that begins a text where the text itself does.
    Raises :class:`CalibrationError` for tokens outside the vocabulary.
    """
    ids = np.asarray(calibration, np.int64)
    bad = ids[(ids < 0) | (ids >= config.vocabulary)]
    if bad.size:
        raise CalibrationError(
            f"the calibration text has the token {int(bad[0])}",
            f"the model's ids are 0 to {config.vocabulary - 1}",
            "use the model's own tokenizer",
        )
    begun = bool(ids[0] == config.begin) and len(ids) > 1
    body = ids[int(begun) :]
    length = min(_LENGTH, config.longest - int(begun), len(body))
    count = min(len(body) // length, _MOST)
    starts = np.linspace(0, len(body) - length, count).astype(np.int64)
    pieces = body[starts[:, None] + np.arange(length)]
    return np.concatenate([np.full((count, 1), config.begin), pieces], axis=1) if begun else pieces


def _quantiser(tensors: ModelTensors, settings: Settings) -> ActivationAware | None:
    if settings.weights.method != "awq":
        return None
    if tensors.config.packed is not None:
        raise UsageError(
            f"{settings.weights} needs a checkpoint of floats, this one holds {tensors.config.packed}",
            "AWQ scales weights before they are rounded",
            "drop --weights, or take the checkpoint in floats",
        )
    return ActivationAware(tensors, settings.weights)
