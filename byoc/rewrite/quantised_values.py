"""Reading quantised tensors in a Relax function: which integers stand behind a float expression, and at what scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relax

from byoc.compat import attrs_to_dict, to_python

INTEGERS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767), "uint16": (0, 65535)}


@dataclass(frozen=True)
class Rounding:
    """One scale and zero point for a whole tensor: the real value of ``q`` is ``(q - zero) * scale``."""

    scale: float
    zero: int
    dtype: str

    def nearest(self, value: float) -> int:
        """The integer that stands for a real value, far beyond the type's limits where the value is."""
        return int(np.clip(np.rint(np.float32(value) / np.float32(self.scale)), -1e6, 1e6)) + self.zero


@dataclass(frozen=True)
class IntegerConstant:
    """A constant of integers: ``(values - zero) * scale``, the scale along `axis` where it has several entries."""

    values: np.ndarray
    scale: np.ndarray
    zero: np.ndarray
    axis: int

    def centred(self) -> np.ndarray:
        """The values less their zero points, int64."""
        return self.values.astype("int64") - _along(self.zero.astype("int64"), self.axis, self.values.ndim)

    def real(self) -> np.ndarray:
        """The floats that it stands for, float64."""
        return self.centred() * _along(self.scale.astype("float64"), self.axis, self.values.ndim)


def _along(array: np.ndarray, axis: int, rank: int) -> np.ndarray:
    if array.size == 1:
        return array.reshape(())
    shape = [1] * rank
    shape[axis] = -1
    return array.reshape(shape)


def op_name(expr: Any) -> str:
    """Name of the op that an expression calls, without ``relax.``; or ``""``."""
    if isinstance(expr, relax.Call) and isinstance(expr.op, tvm.ir.Op):
        return str(expr.op.name).removeprefix("relax.")
    return ""


def dtype_of(expr: Any) -> str:
    """The dtype of a tensor."""
    return str(expr.ty.dtype).removeprefix("T.")


def array_of(expr: Any) -> np.ndarray | None:
    """The values of a constant."""
    return expr.value.numpy() if isinstance(expr, tvm.ir.GenericConst) else None


def shape_of(expr: Any) -> tuple[Any, ...] | None:
    """The extents of a tensor; ``None`` where its rank is unknown."""
    return to_python(expr.ty.shape) if isinstance(expr.ty.shape, relax.ShapeExpr) else None


def rounding_of(call: Any, dtype: str) -> Rounding | None:
    """The scale and zero point of a quantize or dequantize for a whole tensor of positive scale."""
    scale, zero = array_of(call.args[1]), array_of(call.args[2])
    if scale is None or zero is None or scale.size != 1 or zero.size != 1 or dtype not in INTEGERS:
        return None
    value = float(scale.reshape(-1)[0])
    if not np.isfinite(value) or value <= 0 or zero.dtype.kind not in "iu":
        return None
    return Rounding(value, int(zero.reshape(-1)[0]), dtype)


def integer_constant(expr: Any, bound: Mapping[Any, Any]) -> IntegerConstant | None:
    """The integers behind a dequantised constant, seen through transposes and reshapes that keep its channels."""
    call = bound.get(expr, expr)
    name = op_name(call)
    if name == "dequantize":
        values, scale, zero = (array_of(arg) for arg in call.args)
        if values is None or scale is None or zero is None or values.dtype.kind not in "iu" or scale.ndim > 1:
            return None
        axis = int(attrs_to_dict(call.attrs)["axis"]) % max(values.ndim, 1)
        return IntegerConstant(values, scale.reshape(-1), zero.reshape(-1), axis)
    if name == "permute_dims":
        inner = integer_constant(call.args[0], bound)
        if inner is None:
            return None
        axes = attrs_to_dict(call.attrs)["axes"]
        order = [int(a) % inner.values.ndim for a in (axes or range(inner.values.ndim)[::-1])]
        return IntegerConstant(inner.values.transpose(order), inner.scale, inner.zero, order.index(inner.axis))
    if name in ("reshape", "expand_dims", "squeeze"):
        inner = integer_constant(call.args[0], bound)
        shape = shape_of(call)
        if inner is None or shape is None or sum(d != 1 for d in inner.values.shape) > 1:
            return None
        axis = next((i for i, d in enumerate(shape) if d != 1), 0)
        return IntegerConstant(inner.values.reshape(shape), inner.scale, inner.zero, axis)
    return None


def real_constant(expr: Any, bound: Mapping[Any, Any]) -> np.ndarray | None:
    """The floats of a constant, dequantised or plain."""
    plain = array_of(expr)
    if plain is not None:
        return plain
    found = integer_constant(expr, bound)
    return found.real() if found is not None else None
