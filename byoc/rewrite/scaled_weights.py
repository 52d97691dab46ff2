"""Multiply a value by constants without an op of its own: in the weights of what it is computed from."""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm_ffi import structural_equal

from byoc.compat import attrs_to_dict
from byoc.importer.values import constant
from byoc.rewrite.readers import Readers

Scaled = tuple[list[Any], Any]

# Attribute with the weight's layout, by op; a grouped transposed convolution spreads its channels over two axes.
_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "conv1d_transpose", "conv2d_transpose", "conv3d_transpose")
# What moves elements without changing them passes a single factor on to its input.
_MOVES = ("relax.reshape", "relax.permute_dims", "relax.expand_dims", "relax.squeeze", "relax.flatten")


class Scaler:
    """Finds the weights behind a value; `readers` tells which values nobody else reads."""

    def __init__(self, readers: Readers) -> None:
        self.readers = readers

    def scaled(self, variable: Any, scale: np.ndarray) -> Scaled | None:
        """Bindings that compute ``variable * scale`` with no more ops than `variable` takes, and their last variable.

        None if that cannot be done.  `scale` is broadcast against the value from the last axis on.
        """
        call = self.readers.bound.get(variable)
        if self.readers.of(variable) != 1 or not isinstance(call, relax.Call) or not isinstance(call.op, tvm.ir.Op):
            return None
        if not isinstance(variable.ty.shape, relax.ShapeExpr):
            return None
        args = self._scaled_args(call, scale, len(variable.ty.shape.values))
        if args is None:
            return None
        bindings, new_args = args
        value = relax.Call(call.op, new_args, call.attrs, call.ty_args, span=call.span)
        fresh = relax.DataflowVar(f"{variable.name}_scaled", variable.ty)
        self.readers.bind(fresh, value)
        return [*bindings, relax.VarBinding(fresh, value)], fresh

    def _scaled_args(self, call: Any, scale: np.ndarray, rank: int) -> tuple[list[Any], list[Any]] | None:
        name = str(call.op.name)
        if name.removeprefix("relax.nn.") in _CONVOLUTIONS:
            return _convolution(call, scale, rank)
        if name == "relax.matmul":
            return self._product(call, scale, rank)
        if name in ("relax.add", "relax.subtract"):
            return self._sum(call, scale)
        if name in _MOVES and scale.size == 1:
            return self._first(call, scale.reshape(()))
        return None

    def _product(self, call: Any, scale: np.ndarray, rank: int) -> tuple[list[Any], list[Any]] | None:
        left, right = call.args
        if isinstance(right, tvm.ir.GenericConst) and len(right.ty.shape.values) >= 2 and _only_axis(scale, rank, -1):
            return [], [left, _weight(right, scale.reshape(-1) if scale.size > 1 else scale.reshape(()))]
        if scale.size > 1:
            return None
        for position, operand in enumerate((left, right)):
            if isinstance(operand, relax.Var):
                found = self.scaled(operand, scale.reshape(()))
                if found is not None:
                    return found[0], [found[1] if i == position else a for i, a in enumerate((left, right))]
        return None

    def _sum(self, call: Any, scale: np.ndarray) -> tuple[list[Any], list[Any]] | None:
        """A sum with a constant, which is scaled as well."""
        left, right = call.args
        data, constant = (right, left) if isinstance(left, tvm.ir.GenericConst) else (left, right)
        if not isinstance(data, relax.Var) or not isinstance(constant, tvm.ir.GenericConst):
            return None
        if not structural_equal(data.ty, call.ty):
            return None
        found = self.scaled(data, scale)
        if found is None:
            return None
        other = _weight(constant, scale)
        return found[0], [found[1], other] if data is left else [other, found[1]]

    def _first(self, call: Any, scale: np.ndarray) -> tuple[list[Any], list[Any]] | None:
        found = self.scaled(call.args[0], scale) if isinstance(call.args[0], relax.Var) else None
        return None if found is None else (found[0], [found[1], *call.args[1:]])


def _convolution(call: Any, scale: np.ndarray, rank: int) -> tuple[list[Any], list[Any]] | None:
    weight, attrs = call.args[1], attrs_to_dict(call.attrs)
    transposed = str(call.op.name).endswith("transpose")
    out_layout, kernel_layout = attrs["out_layout"] or attrs["data_layout"], attrs["kernel_layout"]
    if not isinstance(weight, tvm.ir.GenericConst) or (transposed and attrs["groups"] != 1):
        return None
    if not (out_layout + kernel_layout).isupper() or not _only_axis(scale, rank, out_layout.find("C")):
        return None
    spread = [1] * len(kernel_layout)
    if scale.size > 1:
        spread[kernel_layout.find("O")] = -1
    return [], [call.args[0], _weight(weight, scale.reshape(spread))]


def _only_axis(scale: np.ndarray, rank: int, axis: int) -> bool:
    """Whether `scale`, broadcast to `rank` axes, has one factor for each index of `axis`, or one factor for all."""
    shape = (1,) * (rank - scale.ndim) + scale.shape
    return scale.size == 1 or (len(shape) == rank and all(d == 1 for i, d in enumerate(shape) if i != axis % rank))


def _weight(weight: Any, scale: np.ndarray) -> Any:
    array = weight.value.numpy()
    return constant(np.ascontiguousarray((array.astype("float64") * scale).astype(array.dtype)))
