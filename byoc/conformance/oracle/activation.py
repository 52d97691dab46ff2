"""Activations."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from byoc.conformance.oracle.define import Arrays, Attrs, Definition, per_axis, wide

# Klambauer et al., Self-Normalizing Neural Networks, 2017, section 2.
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def _selu(arrays: Arrays, _: Attrs) -> Any:
    x = wide(arrays[0])
    return _SELU_SCALE * np.where(x > 0, x, _SELU_ALPHA * np.expm1(np.minimum(x, 0)))


def _gelu_tanh(arrays: Arrays, _: Attrs) -> Any:
    """Hendrycks and Gimpel, Gaussian Error Linear Units, 2016, section 2."""
    x = wide(arrays[0])
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def _softplus(arrays: Arrays, attrs: Attrs) -> Any:
    x = wide(arrays[0])
    beta, threshold = attrs.get("beta", 1.0), attrs.get("threshold", 20.0)
    return np.where(x * beta > threshold, x, np.logaddexp(0, x * beta) / beta)


def _prelu(arrays: Arrays, attrs: Attrs) -> Any:
    x, slope = wide(arrays[0]), wide(arrays[1])
    return np.where(x > 0, x, per_axis(slope, attrs.get("axis", 1), x.ndim) * x)


def _leaky(arrays: Arrays, attrs: Attrs) -> Any:
    x = wide(arrays[0])
    return np.where(x > 0, x, attrs.get("alpha", 0.01) * x)


OPS: dict[str, Definition] = {
    "nn.relu": Definition(lambda a, _: np.maximum(wide(a[0]), 0)),
    "nn.leakyrelu": Definition(_leaky, "rounded"),
    "nn.prelu": Definition(_prelu, "rounded"),
    "nn.gelu": Definition(lambda a, _: 0.5 * wide(a[0]) * (1 + special.erf(wide(a[0]) / np.sqrt(2))), "transcendental"),
    "nn.gelu_tanh": Definition(_gelu_tanh, "transcendental"),
    "nn.silu": Definition(lambda a, _: wide(a[0]) * special.expit(wide(a[0])), "transcendental"),
    "nn.selu": Definition(_selu, "transcendental"),
    "nn.softplus": Definition(_softplus, "transcendental"),
    "clip": Definition(lambda a, t: np.clip(wide(a[0]), t["min"], t["max"])),
}
