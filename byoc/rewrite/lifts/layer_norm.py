"""Layer norm (Ba et al. 2016) over the last axes, written out, with or without weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax

from byoc.importer.values import constant
from byoc.patterns import Pattern, const, op
from byoc.rewrite.lift import Found, Lift, trailing_axes, weight_of

add, multiply, subtract = op("add"), op("multiply"), op("subtract")
_mean = op("mean")("x")
_centred = subtract("x", _mean)


def inverse_root(spread: Pattern) -> Pattern:
    """1 / sqrt(spread + epsilon)."""
    shifted = add(spread, const("epsilon"))
    root = op("sqrt")(shifted) | op("power")(shifted, const("one_half"))
    return op("rsqrt")(shifted) | op("divide")(const("numerator"), root)


def normalised(data: Pattern | str, spread: Pattern) -> Pattern:
    """data / sqrt(spread + epsilon) in every spelling."""
    shifted = add(spread, const("epsilon"))
    root = op("sqrt")(shifted) | op("power")(shifted, const("one_half"))
    return op("divide")(data, root) | multiply(data, inverse_root(spread))


def squared(data: Pattern | str) -> Pattern:
    return multiply(data, data) | op("power")(data, const("exponent"))


_variance = op("mean")(squared(_centred))
_normal = normalised(_centred, _variance)
_factor = multiply(inverse_root(_variance), "gamma")  # how TensorFlow writes it: x * factor + (beta - mean * factor)


def is_normalisation(found: Found) -> bool:
    """Whether the numbers are those of a normalisation: squares, square roots, a positive epsilon."""
    exact = {"exponent": 2.0, "one_half": 0.5, "numerator": 1.0}
    epsilon = found.number("epsilon")
    return (
        all(found.is_number(name, number) for name, number in exact.items() if name in found)
        and epsilon is not None
        and epsilon > 0
        and found["x"].dtype in ("float32", "float64")
    )


def normalised_axes(found: Found) -> list[int] | None:
    """The axes of all means, if they are the same last ones and kept."""
    rank, means = found["x"].rank, [node.attrs for node in found.nodes if node.op == "mean"]
    axes = {tuple(trailing_axes(attrs["axis"] or (), rank) or ()) for attrs in means} if rank > 0 else set()
    if len(axes) != 1 or not all(attrs["keepdims"] for attrs in means):
        return None
    return list(axes.pop()) or None


def _build(*weights: str) -> Callable[[Found], Any]:
    def build(found: Found) -> Any:
        axes = normalised_axes(found)
        if axes is None or not is_normalisation(found):
            return None
        shape = [d for d in (found["x"].shape or ())[axes[0] :] if isinstance(d, int)]
        exprs = [weight_of(found, name, shape) for name in weights]
        if any(expr is None for expr in exprs) or len(shape) != len(axes):
            return None
        neutral = [np.ones(shape, found["x"].dtype), np.zeros(shape, found["x"].dtype)]
        exprs += [constant(array) for array in neutral[len(exprs) :]]
        epsilon = found.number("epsilon")
        return relax.op.nn.layer_norm(found.expr("x"), *exprs, axes, epsilon)

    return build


LIFTS = (
    Lift("layer_norm", add(multiply(_normal, "gamma"), "beta"), _build("gamma", "beta")),
    Lift(
        "layer_norm",
        add(multiply("x", _factor), subtract("beta", multiply(_mean, _factor))),
        _build("gamma", "beta"),
    ),
    Lift("layer_norm", multiply(_normal, "gamma"), _build("gamma")),
    Lift("layer_norm", _normal, _build()),
)
