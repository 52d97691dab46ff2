"""Scales and offsets of channels, such as a batch normalisation that no convolution could take, on integers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax

from byoc.importer.values import constant
from byoc.quant.fixed_point import DEFAULT_BITS
from byoc.rewrite.quantised_ops import WIDE_BITS, NotInteger, Terms, factor_terms
from byoc.rewrite.quantised_values import INTEGERS, Rounding, op_name, real_constant, shape_of


@dataclass(frozen=True)
class AffineChain:
    """``source * scale + shift``, one number of each for a channel, computed by the expressions `steps`, last first.

    `spatial` counts the dimensions after the channels.
    """

    steps: tuple[Any, ...]
    source: Any
    scale: np.ndarray
    shift: np.ndarray
    spatial: int


def affine_chain(expr: Any, bound: Mapping[Any, Any]) -> AffineChain | None:
    """The sums and products with constants of each channel of an image that end in `expr`; ``None`` for none."""
    steps, shift, scale, shape = [], np.zeros(1), np.ones(1), None
    while op_name(bound.get(expr)) in ("add", "multiply"):
        call = bound[expr]
        at = next((i for i, arg in enumerate(call.args) if real_constant(arg, bound) is not None), None)
        channels = None if at is None else _per_channel(call, at, bound)
        if at is None or channels is None:
            break
        if op_name(call) == "add":
            shift = shift + scale * channels
        else:
            scale = scale * channels
        steps.append(expr)
        shape, expr = shape_of(call), call.args[1 - at]
    if shape is None:
        return None
    scale, shift = (np.broadcast_to(values, shape[1]) for values in (scale, shift))
    return AffineChain(tuple(steps), expr, scale, shift, len(shape) - 2)


def _per_channel(call: Any, at: int, bound: Mapping[Any, Any]) -> np.ndarray | None:
    """The constant argument, one number for each channel of an image, or one for all."""
    constant, shape = real_constant(call.args[at], bound), shape_of(call)
    if constant is None or shape is None or not 3 <= len(shape) <= 5 or shape != shape_of(call.args[1 - at]):
        return None
    own = (1,) * (len(shape) - constant.ndim) + constant.shape
    fits = isinstance(shape[1], int) and all(d == 1 or (i == 1 and d == shape[1]) for i, d in enumerate(own))
    return constant.reshape(-1).astype("float64") if fits else None


def affine_product(affine: AffineChain, x: Rounding, terms: Terms) -> tuple[Any, list[Any], dict[str, Any]]:
    """(op, weights and bias, attributes) of an affine function of each channel of integers.

    It is a convolution of single pixels with as many groups as channels, whose weights are 127 or -127.
    """
    from byoc.ops.integer_reference import qlinear_conv

    channels, spatial = affine.scale.size, affine.spatial
    scale, shift = affine.scale, affine.shift
    w_scale = np.where(scale == 0, 1.0, np.abs(scale)) / 127
    weights = (np.sign(scale) * 127).astype("int8").reshape(channels, 1, *(1,) * spatial)
    bias = np.rint(shift / (x.scale * w_scale))
    low, high = INTEGERS[x.dtype]
    largest = max(high - x.zero, x.zero - low)
    if not np.isfinite(bias).all() or np.abs(bias).max(initial=0) + 127 * largest >= 2**31:
        raise NotInteger("what is added to a channel is too large beside its scale")
    wide = x.dtype not in ("int8", "uint8")
    attrs: dict[str, Any] = {
        "x_zero": x.zero, "x_scale": x.scale, "w_scale": tuple(float(s) for s in w_scale), **terms.attributes(),
        **factor_terms(x.scale * w_scale / terms.out.scale, WIDE_BITS if wide else DEFAULT_BITS),
        "strides": (1,) * spatial, "padding": (0,) * (2 * spatial), "dilation": (1,) * spatial, "groups": channels,
    }  # fmt: skip
    return qlinear_conv, [constant(weights), relax.const(bias.astype("int32"))], attrs
