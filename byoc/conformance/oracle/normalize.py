"""Softmax and normalisations."""

from __future__ import annotations

from typing import Any

import numpy as np

from byoc.conformance.oracle.define import Arrays, Attrs, Definition, per_axis, wide


def _softmax(arrays: Arrays, attrs: Attrs) -> Any:
    x, axis = wide(arrays[0]), attrs.get("axis", -1)
    if x.size == 0:
        return x
    powers = np.exp(x - np.max(x, axis, keepdims=True))
    return powers / np.sum(powers, axis, keepdims=True)


def _log_softmax(arrays: Arrays, attrs: Attrs) -> Any:
    x, axis = wide(arrays[0]), attrs.get("axis", -1)
    shifted = x - np.max(x, axis, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis, keepdims=True))


def _axes(attrs: Attrs) -> tuple[int, ...]:
    axes = attrs.get("axes", -1)
    return tuple(axes) if isinstance(axes, (list, tuple)) else (axes,)


def _standardised(x: np.ndarray, axes: tuple[int, ...], epsilon: float) -> np.ndarray:
    mean = np.mean(x, axes, keepdims=True)
    variance = np.var(x, axes, keepdims=True)
    return np.asarray((x - mean) / np.sqrt(variance + epsilon))


def _layer_norm(arrays: Arrays, attrs: Attrs) -> Any:
    """Ba, Kiros, Hinton, Layer Normalization, 2016, equation 4."""
    x, gamma, beta = (wide(a) for a in arrays)
    return _standardised(x, _axes(attrs), attrs.get("epsilon", 1e-5)) * gamma + beta


def _rms_norm(arrays: Arrays, attrs: Attrs) -> Any:
    """Zhang and Sennrich, Root Mean Square Layer Normalization, 2019, equation 4."""
    x, gamma = (wide(a) for a in arrays)
    square = np.mean(x * x, _axes(attrs), keepdims=True)
    return x / np.sqrt(square + attrs.get("epsilon", 1e-5)) * gamma


def _group_norm(arrays: Arrays, attrs: Attrs) -> Any:
    """Wu and He, Group Normalization, 2018, equation 1, for channels on axis 1."""
    x, gamma, beta = (wide(a) for a in arrays)
    groups = attrs["num_groups"]
    grouped = x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
    normal = _standardised(grouped, tuple(range(2, grouped.ndim)), attrs.get("epsilon", 1e-5)).reshape(x.shape)
    return normal * per_axis(gamma, 1, x.ndim) + per_axis(beta, 1, x.ndim)


def _instance_norm(arrays: Arrays, attrs: Attrs) -> Any:
    x, gamma, beta = (wide(a) for a in arrays)
    axis = attrs["channel_axis"]
    normal = _standardised(x, _axes(attrs), attrs.get("epsilon", 1e-5))
    return normal * per_axis(gamma, axis, x.ndim) + per_axis(beta, axis, x.ndim)


def _batch_norm(arrays: Arrays, attrs: Attrs) -> Any:
    """With statistics that are given; the last two results are those statistics."""
    x, gamma, beta, mean, variance = (wide(a) for a in arrays)
    axis = attrs["axis"]
    scale = per_axis(gamma / np.sqrt(variance + attrs.get("epsilon", 1e-5)), axis, x.ndim)
    return (x - per_axis(mean, axis, x.ndim)) * scale + per_axis(beta, axis, x.ndim), mean, variance


def _row(arrays: Arrays, result: Any) -> int:
    return max(1, max(arrays[0].shape, default=1))


OPS: dict[str, Definition] = {
    "nn.softmax": Definition(_softmax, "transcendental"),
    "nn.log_softmax": Definition(_log_softmax, "transcendental"),
    "nn.layer_norm": Definition(_layer_norm, "sum", _row),
    "nn.rms_norm": Definition(_rms_norm, "sum", _row),
    "nn.group_norm": Definition(_group_norm, "sum", _row),
    "nn.instance_norm": Definition(_instance_norm, "sum", _row),
    "nn.batch_norm": Definition(_batch_norm, "sum", _row),
}
