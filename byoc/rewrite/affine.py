"""Chains of additions and multiplications by constants: merged, and put into the weights of what computes their input.

(x * a + b) * c + d          one multiplication, one addition
conv(x, w) * a + b           conv(x, w * a) + b
matmul(q, k) / 8             the division put into the weights that q was computed with
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm_ffi import structural_equal

from byoc.importer.origin import Origin, absorbed_origins, origin_of, with_origin
from byoc.importer.values import constant
from byoc.rewrite.bindings import rewrite_bindings
from byoc.rewrite.readers import Readers
from byoc.rewrite.scaled_weights import Scaler

_OPS = ("relax.add", "relax.subtract", "relax.multiply", "relax.divide")
_FLOATS = ("float32", "float64")


def merge_affine(module: tvm.IRModule) -> tvm.IRModule:
    """Merge such chains where that leaves fewer ops; constants are worked out in float64.

    A chain is left alone where a value inside it is read from outside.
    """
    return rewrite_bindings(module, lambda function: _Merger(function).rewrite)


@dataclass(frozen=True)
class _Chain:
    """``base * scale + shift``, which takes `ops` operations now; None is no scale, no shift."""

    base: Any
    scale: np.ndarray | None = None
    shift: np.ndarray | None = None
    ops: int = 0
    origins: tuple[Origin, ...] = ()

    def then(self, name: str, constant: np.ndarray, constant_first: bool) -> _Chain | None:
        """The chain with one more op; None for a division by the chain."""
        if name == "relax.divide":
            return None if constant_first or not constant.all() else self._times(1.0 / constant)
        if name == "relax.multiply":
            return self._times(constant)
        if name == "relax.add":
            return self._plus(constant)
        negated = self._times(np.float64(-1.0)) if constant_first else self
        return replace(negated._plus(constant if constant_first else -constant), ops=self.ops + 1)

    def _times(self, factor: Any) -> _Chain:
        scale = factor if self.scale is None else self.scale * factor
        shift = None if self.shift is None else self.shift * factor
        return replace(self, scale=_or_none(scale, 1.0), shift=_or_none(shift, 0.0), ops=self.ops + 1)

    def _plus(self, addend: np.ndarray) -> _Chain:
        shift = addend if self.shift is None else self.shift + addend
        return replace(self, shift=_or_none(shift, 0.0), ops=self.ops + 1)

    @property
    def least_ops(self) -> int:
        return (self.scale is not None) + (self.shift is not None)

    @property
    def finite(self) -> bool:
        return all(a is None or bool(np.isfinite(a).all()) for a in (self.scale, self.shift))

    def nbytes(self) -> int:
        return sum(a.nbytes for a in (self.scale, self.shift) if a is not None)


def _or_none(array: Any, neutral: float) -> np.ndarray | None:
    return None if array is None or bool(np.all(array == neutral)) else np.asarray(array)


class _Merger:
    def __init__(self, function: Any) -> None:
        self.readers = Readers(function)
        self.scaler = Scaler(self.readers)
        self.chains: dict[Any, _Chain] = {}

    def rewrite(self, binding: Any) -> list[Any]:
        before = self._before(binding)
        chain = self._extended(binding, *before) if before is not None else None
        if chain is None:
            return [binding]
        self.chains[binding.var] = chain
        emitted = self._emit(binding, chain)
        return [binding] if emitted is None else emitted

    def _before(self, binding: Any) -> tuple[_Chain, np.ndarray, bool] | None:
        """The chain that the binding goes on with, the constant, and whether that comes first."""
        call = binding.value
        if not isinstance(call, relax.Call) or not isinstance(call.op, tvm.ir.Op) or call.op.name not in _OPS:
            return None
        constant_first = isinstance(call.args[0], tvm.ir.GenericConst)
        constant, data = call.args if constant_first else reversed(call.args)
        if not isinstance(constant, tvm.ir.GenericConst) or not isinstance(data, relax.Var):
            return None
        if not isinstance(data.ty, relax.TensorType) or str(call.ty.dtype).removeprefix("T.") not in _FLOATS:
            return None
        if data.ty.shape is None or not structural_equal(data.ty, binding.var.ty):
            return None
        alone = self.readers.of(data) == 1
        chain = self.chains.get(data, _Chain(data)) if alone else _Chain(data)
        return chain, constant.value.numpy().astype("float64"), constant_first

    def _extended(self, binding: Any, chain: _Chain, constant: np.ndarray, constant_first: bool) -> _Chain | None:
        longer = chain.then(str(binding.value.op.name), constant, constant_first)
        if longer is None or not longer.finite or longer.nbytes() > 2 * max(chain.nbytes(), constant.nbytes):
            return None
        own = origin_of(binding.value)
        return replace(longer, origins=(*chain.origins, *([own] if own else []), *absorbed_origins(binding.value)))

    def _emit(self, binding: Any, chain: _Chain) -> list[Any] | None:
        """Bindings that compute the chain in fewer ops than it has, or None."""
        new: list[Any] = []
        if chain.scale is not None:
            scaled = self.scaler.scaled(chain.base, chain.scale)
            if scaled is not None:
                new, base = scaled
                chain = replace(chain, base=base, scale=None)
        if chain.least_ops >= chain.ops:
            return None
        self.chains[binding.var] = replace(chain, ops=chain.least_ops)
        return new + self._spelled(binding, chain)

    def _spelled(self, binding: Any, chain: _Chain) -> list[Any]:
        dtype = str(binding.var.ty.dtype).removeprefix("T.")
        own, new, value = origin_of(binding.value), [], chain.base
        for op, array in ((relax.op.multiply, chain.scale), (relax.op.add, chain.shift)):
            if array is None:
                continue
            if value is not chain.base:
                inner = relax.DataflowVar(f"{binding.var.name}_scaled", binding.var.ty)
                new.append(relax.VarBinding(inner, value))
                self.readers.bind(inner, value)
                value = inner
            value = op(value, constant(array.astype(dtype)))
            value = value if own is None else with_origin(value, own, chain.origins)
        self.readers.bind(binding.var, value)
        return [*new, relax.VarBinding(binding.var, value)]
