"""Attributes of the integer ops: multipliers and shifts from scales, biases at the accumulator's scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax

from byoc.compat import attrs_to_dict
from byoc.quant.fixed_point import DEFAULT_BITS, fixed_point
from byoc.rewrite.quantised_values import INTEGERS, IntegerConstant, Rounding, op_name, shape_of

# What keeps ``total * multiplier`` within 64 bits: 31-bit multipliers of 32-bit totals, 16-bit ones of wider totals.
WIDE_BITS, _WIDE_TOTAL = 16, 2**46
# A sum of two 8-bit integers then stays within 32 bits.
_ADD_BITS = 21


class NotInteger(Exception):  # noqa: N818 - no error: the op stays float
    """Why an op has no integer form."""


@dataclass(frozen=True)
class Terms:
    """How a result is rounded: its scale and zero point, and the integers between which it is kept."""

    out: Rounding
    low: int
    high: int

    def attributes(self) -> dict[str, Any]:
        """The attributes that every integer op has."""
        return {
            "y_zero": self.out.zero,
            "y_scale": self.out.scale,
            "low": self.low,
            "high": self.high,
            "out_dtype": self.out.dtype,
        }


def factor_terms(factors: Any, bits: int = DEFAULT_BITS) -> dict[str, Any]:
    """``multiplier`` and ``shift`` for real factors."""
    fixed = fixed_point(factors, bits)
    return {"multiplier": fixed.multiplier, "shift": fixed.shift}


def add_terms(a: Rounding, b: Rounding, terms: Terms) -> dict[str, Any]:
    """Attributes of ``byoc.qlinear_add``: two multipliers that share the shift of the larger one."""
    factors = [a.scale / terms.out.scale, b.scale / terms.out.scale]
    largest = fixed_point([max(factors)], _ADD_BITS)
    (shift,) = largest.shift
    return {
        "a_zero": a.zero, "a_scale": a.scale, "b_zero": b.zero, "b_scale": b.scale,
        "multiplier": tuple(round(math.ldexp(f, shift)) for f in factors), "shift": (shift,), **terms.attributes(),
    }  # fmt: skip


def average_terms(call: Any, x: Rounding, terms: Terms) -> tuple[Any, dict[str, Any]]:
    """The op and attributes of an average: the sum times ``x_scale / (y_scale * count)``."""
    from byoc.ops.integer_reference import qlinear_average_pool, qlinear_mean

    attrs = attrs_to_dict(call.attrs)
    shape = shape_of(call.args[0])
    if shape is None:
        raise NotInteger("the rank of its input is unknown")
    shared = {"x_zero": x.zero, "x_scale": x.scale, **terms.attributes()}
    if op_name(call) == "mean":
        axes = attrs["axis"]
        chosen = sorted(int(a) % len(shape) for a in (axes if axes is not None else range(len(shape))))
        if not all(isinstance(shape[a], int) for a in chosen):
            raise NotInteger("how many elements it averages is known only at run time")
        count = math.prod(shape[a] for a in chosen)
        shared |= {"axes": tuple(chosen), "keepdims": bool(attrs["keepdims"])}
        return qlinear_mean, shared | _average_factors(x, terms, [count])
    if attrs["ceil_mode"] or any(d != 1 for d in attrs["dilation"]) or not isinstance(shape[1], int):
        raise NotInteger("its windows are dilated, or reach beyond the padded image")
    excluding = any(attrs["padding"]) and not attrs["count_include_pad"]
    if excluding and not all(isinstance(extent, int) for extent in shape[2:]):
        raise NotInteger("padding does not count in its windows, whose elements are known only at run time")
    if attrs["layout"] not in ("NCW", "NCHW", "NCDHW"):
        raise NotInteger(f"its layout is {attrs['layout']}")
    shared |= {name: tuple(int(v) for v in attrs[name]) for name in ("pool_size", "strides", "padding")}
    whole = math.prod(shared["pool_size"])
    return qlinear_average_pool, shared | _average_factors(x, terms, range(1 if excluding else whole, whole + 1))


def _average_factors(x: Rounding, terms: Terms, counts: Sequence[int]) -> dict[str, Any]:
    low, high = INTEGERS[x.dtype]
    if max(counts) * (high - low) >= 2**31:
        raise NotInteger(f"the sum of {max(counts)} elements does not fit 32 bits")
    return factor_terms([x.scale / (terms.out.scale * count) for count in counts])


class Product:
    """A convolution or matrix product with constant integer weights, on its way to an integer op."""

    def __init__(self, call: Any, x: Rounding, weight: IntegerConstant, terms: Terms) -> None:
        self.call, self.x, self.terms = call, x, terms
        self.is_conv = op_name(call) != "matmul"
        self.attrs = attrs_to_dict(call.attrs)
        self._check(weight)
        self.axis = 0 if self.is_conv else 1
        values = weight.centred()
        self.channels = values.shape[self.axis]
        if weight.scale.size > 1 and weight.axis != self.axis:
            raise NotInteger("its weights have scales along another axis than that of the result's channels")
        fits = np.abs(values).max(initial=0) <= 127 or (values.min(initial=0) >= -128 and values.max(initial=0) <= 127)
        self.values = values.astype("int8" if fits else "int16")
        self.scale = np.broadcast_to(weight.scale.astype("float64"), self.channels)
        if not (np.isfinite(self.scale).all() and (self.scale > 0).all()):
            raise NotInteger("its weights have scales that are not positive")
        self.bias = np.zeros(self.channels, "int64")

    def _check(self, weight: IntegerConstant) -> None:
        rank = weight.values.ndim
        if not self.is_conv:
            if rank != 2:
                raise NotInteger(f"its weights have rank {rank}")
            return
        spatial = rank - 2
        wanted = {"data_layout": {1: "NCW", 2: "NCHW", 3: "NCDHW"}, "kernel_layout": {1: "OIW", 2: "OIHW", 3: "OIDHW"}}
        if any(self.attrs[name] != layouts.get(spatial) for name, layouts in wanted.items()):
            raise NotInteger("its layout is another than NCHW")

    def add_bias(self, integers: IntegerConstant | None, real: np.ndarray | None) -> None:
        """Add a bias: as it is where it has the accumulator's scale, else rounded to it."""
        step = self.x.scale * self.scale
        source = integers.values if integers is not None else real
        assert source is not None
        rank = len(shape_of(self.call) or ())
        axis = 1 if self.is_conv else rank - 1
        shape = (1,) * (rank - source.ndim) + source.shape
        if source.size not in (1, self.channels) or (source.size > 1 and shape[axis] != self.channels):
            raise NotInteger("what is added is no bias")
        if integers is not None:
            own = np.broadcast_to(integers.scale.astype("float64"), self.channels)
            if np.allclose(own, step, rtol=1e-5, atol=0):
                self.bias = np.broadcast_to(integers.centred().reshape(-1), self.channels)
                return
        assert real is not None
        self.bias = np.rint(np.broadcast_to(real.reshape(-1), self.channels) / step).astype("int64")

    def finish(self) -> tuple[Any, list[Any], dict[str, Any]]:
        """(op, weights and bias, attributes).  Raises :class:`NotInteger` where a total could overflow."""
        from byoc.ops.integer_reference import qlinear_conv, qlinear_matmul

        low, high = INTEGERS[self.x.dtype]
        largest = max(high - self.x.zero, self.x.zero - low)
        rows = np.abs(np.moveaxis(self.values.astype("int64"), self.axis, 0)).reshape(self.channels, -1).sum(1)
        reach = int((rows * largest + np.abs(self.bias)).max(initial=0))
        wide = "int16" in (self.values.dtype.name, self.x.dtype) or self.x.dtype == "uint16"
        if reach >= (_WIDE_TOTAL if wide else 2**31) or np.abs(self.bias).max(initial=0) >= 2**31:
            raise NotInteger(f"its totals of up to {reach} do not fit its accumulator")
        attrs: dict[str, Any] = {
            "x_zero": self.x.zero, "x_scale": self.x.scale, "w_scale": tuple(float(s) for s in self.scale),
            **self.terms.attributes(),
        }  # fmt: skip
        attrs |= factor_terms(self.x.scale * self.scale / self.terms.out.scale, WIDE_BITS if wide else DEFAULT_BITS)
        if self.is_conv:
            attrs |= {name: tuple(int(v) for v in self.attrs[name]) for name in ("strides", "padding", "dilation")}
            attrs["groups"] = int(self.attrs["groups"])
        constants = [relax.const(self.values, self.values.dtype.name), relax.const(self.bias.astype("int32"), "int32")]
        return (qlinear_conv if self.is_conv else qlinear_matmul), constants, attrs
