"""Frequencies of the rotary embedding, with the ways in which models stretch them for long texts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from byoc.errors import ModelFileError, UnsupportedModelError


@dataclass(frozen=True)
class Rope:
    """Radians per position of each pair of channels, and the factor of sine and cosine."""

    frequencies: tuple[float, ...]
    factor: float = 1.0


def rope_of(values: Mapping[str, Any], head_dim: int, longest: int, context: int) -> Rope:
    """From the fields of a ``config.json``: ``rope_theta``, ``rope_scaling`` or, newer, ``rope_parameters``.

    Kinds: default, linear (position interpolation, 2306.15595), dynamic (the base grows with the text, which is taken
    to have `context` tokens), longrope (2402.13753; factors of long texts where `context` is long), llama3, yarn
    (2309.00071).  Raises :class:`UnsupportedModelError` for others.
    """
    scaling = dict(values.get("rope_parameters") or values.get("rope_scaling") or {})
    theta = float(scaling.get("rope_theta") or values.get("rope_theta") or 10000.0)
    rotary = int(head_dim * float(scaling.get("partial_rotary_factor") or values.get("partial_rotary_factor") or 1.0))
    plain = theta ** -(np.arange(0, rotary, 2, dtype=np.float64) / rotary)
    kind = str(scaling.get("rope_type") or scaling.get("type") or "default")
    if kind == "default":
        return _rope(plain)
    if kind == "linear":
        return _rope(plain / float(scaling["factor"]))
    if kind == "dynamic":
        stretch = float(scaling["factor"]) * max(context, longest) / longest - (float(scaling["factor"]) - 1)
        grown = theta * stretch ** (rotary / (rotary - 2))
        return _rope(grown ** -(np.arange(0, rotary, 2, dtype=np.float64) / rotary))
    if kind == "longrope":
        original = scaling.get("original_max_position_embeddings") or values.get("original_max_position_embeddings")
        return _longrope(plain, scaling, float(original or longest), longest, context)
    if kind == "llama3":
        return _rope(_llama3(plain, scaling))
    if kind == "yarn":
        return _yarn(plain, scaling, theta, rotary, longest)
    raise UnsupportedModelError(
        f'the rotary embedding is scaled by "{kind}"', "byoc knows default, linear, dynamic, longrope, llama3 and yarn"
    )


def _rope(frequencies: np.ndarray, factor: float = 1.0) -> Rope:
    return Rope(tuple(float(f) for f in frequencies.astype(np.float32)), factor)


def _longrope(plain: np.ndarray, scaling: Mapping[str, Any], original: float, longest: int, context: int) -> Rope:
    stretches = np.asarray(scaling["long_factor" if context > original else "short_factor"], np.float64)
    if stretches.shape != plain.shape:
        raise ModelFileError(
            f"the rotary embedding is scaled by {stretches.size} factors of longrope, a head has {plain.size} pairs",
            "longrope has a factor for each pair of channels",
            "use the config.json that belongs to the checkpoint",
        )
    factor = float(scaling.get("factor") or longest / original)
    attention = scaling.get("attention_factor")
    if attention is None:
        attention = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
    return _rope(plain / stretches, float(attention))


def _llama3(plain: np.ndarray, scaling: Mapping[str, Any]) -> np.ndarray:
    """Slow pairs are stretched by the factor, fast ones not, those between by a blend (Llama 3.1's release)."""
    factor, low, high = (float(scaling[k]) for k in ("factor", "low_freq_factor", "high_freq_factor"))
    original = float(scaling["original_max_position_embeddings"])
    turns = original * plain / (2 * math.pi)
    blend = np.clip((turns - low) / (high - low), 0, 1)
    return (1 - blend) * plain / factor + blend * plain


def _yarn(plain: np.ndarray, scaling: Mapping[str, Any], theta: float, rotary: int, longest: int) -> Rope:
    factor = float(scaling["factor"])
    original = float(scaling.get("original_max_position_embeddings") or longest)

    def pair_that_turns(times: float) -> float:
        return rotary * math.log(original / (times * 2 * math.pi)) / (2 * math.log(theta))

    first = pair_that_turns(float(scaling.get("beta_fast") or 32))
    last = pair_that_turns(float(scaling.get("beta_slow") or 1))
    if scaling.get("truncate", True):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, rotary - 1)
    ramp = np.clip((np.arange(rotary // 2) - first) / max(last - first, 0.001), 0, 1)
    frequencies = plain / factor * ramp + plain * (1 - ramp)
    attention = scaling.get("attention_factor")
    return _rope(frequencies, float(attention) if attention is not None else _yarn_attention(factor, scaling))


def _yarn_attention(factor: float, scaling: Mapping[str, Any]) -> float:
    def scale(mscale: float) -> float:
        return 0.1 * mscale * math.log(factor) + 1.0 if factor > 1 else 1.0

    mscale, mscale_all = scaling.get("mscale"), scaling.get("mscale_all_dim")
    return scale(float(mscale)) / scale(float(mscale_all)) if mscale and mscale_all else scale(1.0)
