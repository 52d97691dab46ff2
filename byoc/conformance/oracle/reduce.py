"""Reductions, arg reductions, running sums and products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from byoc.conformance.oracle.define import Arrays, Attrs, Definition, reduced_terms, wide


def _axes(attrs: Attrs) -> Any:
    axis = attrs.get("axis")
    return tuple(axis) if isinstance(axis, (list, tuple)) else axis


def _reduction(function: Callable[..., Any], empty: Any = None) -> Callable[[Arrays, Attrs], Any]:
    def apply(arrays: Arrays, attrs: Attrs) -> Any:
        x = wide(arrays[0])
        more = {} if empty is None or x.dtype.kind in "iub" else {"initial": empty}
        result = function(x, axis=_axes(attrs), keepdims=attrs.get("keepdims", False), **more)
        return np.asarray(result).astype(x.dtype) if x.dtype.kind in "iu" else result

    return apply


def _scan(function: Callable[..., Any], first: int) -> Callable[[Arrays, Attrs], Any]:
    def apply(arrays: Arrays, attrs: Attrs) -> Any:
        x, axis = wide(arrays[0]), attrs.get("axis")
        if axis is None:
            x, axis = x.reshape(-1), 0
        if attrs.get("exclusive"):
            head = np.full_like(np.take(x, [0], axis), first)
            x = np.concatenate([head, np.delete(x, -1, axis)], axis)
        return function(x, axis=axis, dtype=x.dtype)

    return apply


def _arg(function: Callable[..., Any]) -> Callable[[Arrays, Attrs], Any]:
    return lambda a, t: function(a[0], axis=t.get("axis"), keepdims=t.get("keepdims", False)).astype(np.int64)


OPS: dict[str, Definition] = {
    "sum": Definition(_reduction(np.sum), "sum", reduced_terms),
    "mean": Definition(_reduction(np.mean), "sum", reduced_terms),
    "prod": Definition(_reduction(np.prod), "sum", reduced_terms),
    "max": Definition(_reduction(np.max, -np.inf)),
    "min": Definition(_reduction(np.min, np.inf)),
    "variance": Definition(_reduction(np.var), "sum", reduced_terms),
    "std": Definition(_reduction(np.std), "sum", reduced_terms),
    "argmax": Definition(_arg(np.argmax)),
    "argmin": Definition(_arg(np.argmin)),
    "cumsum": Definition(_scan(np.cumsum, 0), "sum", lambda a, r: max(a[0].shape, default=1)),
    "cumprod": Definition(_scan(np.cumprod, 1), "sum", lambda a, r: max(a[0].shape, default=1)),
}
