"""Batch normalisation with constant statistics as a multiplication and an addition."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import tvm
from tvm import relax

from byoc.compat import attrs_to_dict
from byoc.importer.origin import origin_of, with_origin
from byoc.importer.values import constant
from byoc.rewrite.bindings import rewrite_bindings
from byoc.rewrite.readers import Readers


def unfold_batch_norm(module: tvm.IRModule) -> tvm.IRModule:
    """Replace `nn.batch_norm` of which only the normalised tensor is used, and whose parameters are constants.

    x*s + t, with s = gamma/sqrt(var + epsilon) and t = beta - mean*s, computed in float64.
    """
    return rewrite_bindings(module, lambda function: _BatchNorms(function).rewrite)


class _BatchNorms:
    def __init__(self, function: Any) -> None:
        self.readers = Readers(function)
        self.found: dict[Any, tuple[np.ndarray, np.ndarray, Any]] = {}

    @cached_property
    def items(self) -> dict[Any, list[int]]:
        """Which fields of a tuple are read."""
        found: dict[Any, list[int]] = {}
        for value in self.readers.bound.values():
            if isinstance(value, relax.TupleGetItem):
                found.setdefault(value.tuple_value, []).append(int(value.index))
        return found

    def rewrite(self, binding: Any) -> list[Any]:
        value = binding.value
        if isinstance(value, relax.TupleGetItem) and value.tuple_value in self.found:
            return _scaled_and_shifted(binding, *self.found[value.tuple_value])
        scale_and_shift = _scale_and_shift(value)
        if scale_and_shift is None or self.readers.of(binding.var) != 1 or self.items.get(binding.var) != [0]:
            return [binding]
        self.found[binding.var] = (*scale_and_shift, value)
        return []


def _scaled_and_shifted(binding: Any, scale: np.ndarray, shift: np.ndarray, norm: Any) -> list[Any]:
    data = norm.args[0]
    shape = [1] * len(data.ty.shape.values)
    shape[int(norm.attrs.axis) % len(shape)] = -1
    origin = origin_of(norm)
    dtype = str(data.ty.dtype).removeprefix("T.")
    scaled = relax.DataflowVar(f"{binding.var.name}_scaled", data.ty)
    calls = [
        relax.op.multiply(data, constant(scale.reshape(shape).astype(dtype))),
        relax.op.add(scaled, constant(shift.reshape(shape).astype(dtype))),
    ]
    product, total = (with_origin(call, origin) if origin else call for call in calls)
    return [relax.VarBinding(scaled, product), relax.VarBinding(binding.var, total)]


def _scale_and_shift(value: Any) -> tuple[np.ndarray, np.ndarray] | None:
    is_norm = (
        isinstance(value, relax.Call) and isinstance(value.op, tvm.ir.Op) and value.op.name == "relax.nn.batch_norm"
    )
    if not is_norm or not all(isinstance(a, tvm.ir.GenericConst) for a in value.args[1:]):
        return None
    if not isinstance(value.args[0].ty.shape, relax.ShapeExpr):
        return None
    gamma, beta, mean, variance = (a.value.numpy().astype("float64") for a in value.args[1:])
    attrs = attrs_to_dict(value.attrs)
    if attrs.get("training"):
        return None
    scale = (gamma if attrs["scale"] else 1.0) / np.sqrt(variance + attrs["epsilon"])
    return scale, (beta if attrs["center"] else 0.0) - mean * scale
