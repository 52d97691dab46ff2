"""Weights of a model as Relax constants and linear layers that all entry functions share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relax

from byoc.llm.tensors import ModelTensors
from byoc.llm.weights import PackedWeights, WeightSpec, halves, round_to_nearest
from byoc.ops.linear import linear, linear_of_halves

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Layer:
    """A linear layer: `call` makes its Relax call, `bias` is a constant or None."""

    call: Callable[[Any], Any]
    bias: Any = None
    nbytes: int = 0


class ModelWeights:
    """Constants and linear layers under the names of :class:`ModelTensors`; each is made once.

    Layers that are integers already stay as they are, the others and the embedding are kept as `spec` says.
    """

    def __init__(self, tensors: ModelTensors, spec: WeightSpec) -> None:
        self.tensors, self.spec = tensors, spec
        self._constants: dict[str, Any] = {}
        self._layers: dict[str, Layer] = {}

    def read(self) -> None:
        """Make all of them.  Raises as :meth:`constant` and :meth:`layer` do."""
        for name in self.tensors.constants:
            self.constant(name)
        for name in self.tensors.linear_layers:
            self.layer(name)

    def constant(self, name: str) -> Any:
        """A tensor that is used as it is: norms, frequencies, and the embedding in the dtype of `spec`."""
        if name not in self._constants:
            values = self.tensors.floats(name)
            if name == "embedding" and self.spec.dtype != "float32":
                values = halves(name, values, self.spec.dtype)
            self._constants[name] = _relax_constant(values)
        return self._constants[name]

    def layer(self, name: str) -> Layer:
        """A linear layer.  Raises :class:`UsageError` where it cannot be kept as `spec` says."""
        if name not in self._layers:
            self._layers[name] = self._make_layer(name)
        return self._layers[name]

    def _make_layer(self, name: str) -> Layer:
        values = self.tensors.bias(name)
        bias = None if values is None else _relax_constant(values)
        packed = self.tensors.packed(name)
        if packed is not None:
            return _packed_layer(packed, bias)
        return linear_layer(name, self.tensors.floats(name), self.spec, bias)


def linear_layer(name: str, weight: Array, spec: WeightSpec, bias: Any = None) -> Layer:
    """A layer of float32[outputs, inputs], kept as `spec` says; `awq` weights have been scaled and cut before.

    Raises :class:`UsageError` where it cannot be kept so.
    """
    if not spec.is_float:
        return _packed_layer(round_to_nearest(weight, spec.bits, spec.group), bias)
    if spec.bits == 16:
        rounded = halves(name, weight, spec.dtype)
        constant = _relax_constant(rounded)
        return Layer(lambda x: linear_of_halves(x, constant), bias, rounded.nbytes)
    matrix = _relax_constant(weight.T)
    return Layer(lambda x: relax.op.matmul(x, matrix), bias, weight.nbytes)


def _packed_layer(packed: PackedWeights, bias: Any) -> Layer:
    parts = [_relax_constant(a) for a in (packed.packed, packed.scale, packed.zero)]
    order = None if packed.order is None else _relax_constant(packed.order)

    def call(x: Any) -> Any:
        ordered = x if order is None else relax.op.take(x, order, axis=-1, mode="clip")
        return linear(ordered, *parts, bits=packed.bits, group=packed.group)

    return Layer(call, bias, packed.nbytes)


def _relax_constant(array: Array) -> Any:
    return relax.const(tvm.runtime.tensor(np.ascontiguousarray(array)))
