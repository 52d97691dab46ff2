"""Frequencies of the rotary embedding, with the ways in which models stretch them for long texts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from byoc.errors import ModelFileError, UnsupportedModelError
from byoc.llm.config_fields import Fields


@dataclass(frozen=True)
class Rope:
    """Radians per position of each pair of channels, and the factor of sine and cosine."""

    frequencies: tuple[float, ...]
    factor: float = 1.0


def rope_of(fields: Fields, head_dim: int, longest: int, context: int) -> Rope:
    """From the fields of a ``config.json``: ``rope_theta``, ``rope_scaling`` or, newer, ``rope_parameters``.

    Kinds: default, linear (position interpolation, 2306.15595), dynamic (the base grows with the text, which is taken
    to have `context` tokens), longrope (2402.13753; factors of long texts where `context` is long), llama3, yarn
    (2309.00071).  Raises :class:`UnsupportedModelError` for others, and for frequencies that are none.
    """
    scaling = fields.inner("rope_parameters") or fields.inner("rope_scaling")
    nested = scaling is not None and "rope_theta" in scaling
    theta = (scaling if scaling is not None and nested else fields).number("rope_theta", 10000.0, above=True)
    pairs = np.arange(0, head_dim, 2, dtype=np.float64) / head_dim
    plain = theta**-pairs
    for found in (fields, scaling):
        share = found.number("partial_rotary_factor", 1.0) if found is not None else 1.0
        if share != 1:
            raise UnsupportedModelError(
                f'"partial_rotary_factor" is {share:g}', "these architectures turn all channels of a head"
            )
    if scaling is None:
        return _rope(plain)
    kind = scaling.text("rope_type" if "rope_type" in scaling else "type", "default")
    if kind == "default":
        return _rope(plain)
    if kind == "linear":
        return _rope(plain / _factor(scaling))
    if kind == "dynamic":
        stretch = _factor(scaling) * max(context, longest) / longest - (_factor(scaling) - 1)
        grown = theta * stretch ** (head_dim / max(head_dim - 2, 1))  # one pair turns at 1, whatever the base
        return _rope(grown**-pairs)
    if kind == "longrope":
        return _longrope(plain, fields, scaling, longest, context)
    if kind == "llama3":
        return _rope(_llama3(plain, scaling))
    if kind == "yarn":
        return _yarn(plain, scaling, theta, head_dim, longest)
    raise UnsupportedModelError(
        f'the rotary embedding is scaled by "{kind}"', "byoc knows default, linear, dynamic, longrope, llama3 and yarn"
    )


def _factor(scaling: Fields) -> float:
    return scaling.number("factor", above=True)


def _rope(frequencies: np.ndarray, factor: float = 1.0) -> Rope:
    found = frequencies.astype(np.float32)
    if not np.isfinite(found).all() or not math.isfinite(factor):
        raise UnsupportedModelError(
            "the rotary embedding turns by what is no number",
            "the fields that scale it contradict each other",
            "use the config.json that belongs to the checkpoint",
        )
    return Rope(tuple(float(f) for f in found), factor)


def _longrope(plain: np.ndarray, fields: Fields, scaling: Fields, longest: int, context: int) -> Rope:
    said = next((f for f in (scaling, fields) if "original_max_position_embeddings" in f), None)
    original = longest if said is None else said.whole("original_max_position_embeddings", least=2)
    stretches = np.asarray(scaling.numbers("long_factor" if context > original else "short_factor"), np.float64)
    if stretches.shape != plain.shape:
        raise ModelFileError(
            f"the rotary embedding is scaled by {stretches.size} factors of longrope, a head has {plain.size} pairs",
            "longrope has a factor for each pair of channels",
            "use the config.json that belongs to the checkpoint",
        )
    if not (stretches > 0).all():
        raise ModelFileError("the rotary embedding is divided by a factor of longrope that is not above zero")
    factor = _factor(scaling) if "factor" in scaling else longest / original
    grown = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
    return _rope(plain / stretches, scaling.number("attention_factor", grown))


def _llama3(plain: np.ndarray, scaling: Fields) -> np.ndarray:
    """Slow pairs are stretched by the factor, fast ones not, those between by a blend (Llama 3.1's release)."""
    low, high = scaling.number("low_freq_factor"), scaling.number("high_freq_factor")
    if not low < high:
        raise UnsupportedModelError(
            f'the rotary embedding of the type "llama3" has low_freq_factor {low:g} and high_freq_factor {high:g}',
            "the first is less than the second",
        )
    original = scaling.whole("original_max_position_embeddings")
    turns = original * plain / (2 * math.pi)
    blend = np.clip((turns - low) / (high - low), 0, 1)
    return np.asarray((1 - blend) * plain / _factor(scaling) + blend * plain)


def _yarn(plain: np.ndarray, scaling: Fields, theta: float, rotary: int, longest: int) -> Rope:
    factor = _factor(scaling)
    original = scaling.whole("original_max_position_embeddings", longest)
    if theta == 1:
        raise UnsupportedModelError('"rope_theta" is 1', "all pairs turn alike, and yarn stretches the slow ones")

    def pair_that_turns(times: float) -> float:
        return rotary * math.log(original / (times * 2 * math.pi)) / (2 * math.log(theta))

    first = pair_that_turns(scaling.number("beta_fast", 32.0, above=True))
    last = pair_that_turns(scaling.number("beta_slow", 1.0, above=True))
    if scaling.flag("truncate", True):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, rotary - 1)
    ramp = np.clip((np.arange(rotary // 2) - first) / max(last - first, 0.001), 0, 1)
    frequencies = plain / factor * ramp + plain * (1 - ramp)
    return _rope(frequencies, scaling.number("attention_factor", _yarn_attention(factor, scaling)))


def _yarn_attention(factor: float, scaling: Fields) -> float:
    def scale(mscale: float) -> float:
        return 0.1 * mscale * math.log(factor) + 1.0 if factor > 1 else 1.0

    mscale, mscale_all = scaling.number("mscale", 0.0), scaling.number("mscale_all_dim", 0.0)
    return scale(mscale) / scale(mscale_all) if mscale and mscale_all else scale(1.0)
