"""Elementwise arithmetic, comparisons, logic and conversions, with numpy's broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from byoc.conformance.oracle.define import Arrays, Attrs, Definition, wide


def _unary(function: Callable[[Any], Any], kind: str) -> Definition:
    return Definition(lambda a, _: function(wide(a[0])), kind)


def _binary(function: Callable[[Any, Any], Any], kind: str) -> Definition:
    def apply(arrays: Arrays, _: Attrs) -> Any:
        left, right = (wide(a) for a in arrays)
        result = np.asarray(function(left, right))
        same = left.dtype.kind in "iu" and result.dtype.kind in "iu"
        return result.astype(arrays[0].dtype) if same else result

    return Definition(apply, kind)


def _divide(left: np.ndarray, right: np.ndarray) -> Any:
    """Integers are cut towards zero."""
    return np.trunc(left / right) if left.dtype.kind in "iu" else left / right


def _convert(arrays: Arrays, attrs: Attrs) -> Any:
    target = np.dtype(attrs["dtype"])
    values = wide(arrays[0])
    if target.kind == "f":
        return values.astype(target).astype(np.float64)  # rounded once, as every implementation must
    return (values != 0) if target.kind == "b" else np.trunc(values).astype(target)


OPS: dict[str, Definition] = {
    "abs": _unary(np.abs, "exact"), "negative": _unary(np.negative, "exact"), "sign": _unary(np.sign, "exact"),
    "square": _unary(np.square, "rounded"), "sqrt": _unary(np.sqrt, "rounded"),
    "rsqrt": _unary(lambda x: 1 / np.sqrt(x), "transcendental"),
    "floor": _unary(np.floor, "exact"), "ceil": _unary(np.ceil, "exact"), "trunc": _unary(np.trunc, "exact"),
    "round": _unary(np.rint, "exact"), "erf": _unary(special.erf, "transcendental"),
    "sigmoid": _unary(special.expit, "transcendental"),
    **{
        name: _unary(getattr(np, numpy_name), "transcendental")
        for name, numpy_name in {
            "exp": "exp", "log": "log", "tanh": "tanh", "sin": "sin", "cos": "cos", "tan": "tan", "asin": "arcsin",
            "acos": "arccos", "atan": "arctan", "sinh": "sinh", "cosh": "cosh", "asinh": "arcsinh", "acosh": "arccosh",
            "atanh": "arctanh",
        }.items()
    },
    "add": _binary(np.add, "rounded"), "subtract": _binary(np.subtract, "rounded"),
    "multiply": _binary(np.multiply, "rounded"), "divide": _binary(_divide, "rounded"),
    "floor_divide": _binary(np.floor_divide, "rounded"), "mod": _binary(np.fmod, "rounded"),
    "floor_mod": _binary(np.mod, "rounded"), "maximum": _binary(np.maximum, "exact"),
    "minimum": _binary(np.minimum, "exact"), "atan2": _binary(np.arctan2, "transcendental"),
    "log_add_exp": _binary(np.logaddexp, "transcendental"), "power": _binary(np.power, "transcendental"),
    "ewise_fma": Definition(lambda a, _: wide(a[0]) * wide(a[1]) + wide(a[2]), "rounded"),
    "where": Definition(lambda a, _: np.where(a[0].astype(bool), wide(a[1]), wide(a[2]))),
    "astype": Definition(_convert, "rounded"),
    "logical_not": Definition(lambda a, _: np.logical_not(a[0])),
    "bitwise_not": Definition(lambda a, _: np.invert(a[0])),
    "isnan": Definition(lambda a, _: np.isnan(a[0])), "isinf": Definition(lambda a, _: np.isinf(a[0])),
    "isfinite": Definition(lambda a, _: np.isfinite(a[0])),
    **{
        name: _binary(getattr(np, numpy_name), "exact")
        for name, numpy_name in {
            "equal": "equal", "not_equal": "not_equal", "less": "less", "less_equal": "less_equal",
            "greater": "greater", "greater_equal": "greater_equal", "logical_and": "logical_and",
            "logical_or": "logical_or", "logical_xor": "logical_xor", "bitwise_and": "bitwise_and",
            "bitwise_or": "bitwise_or", "bitwise_xor": "bitwise_xor", "left_shift": "left_shift",
            "right_shift": "right_shift",
        }.items()
    },
}  # fmt: skip
