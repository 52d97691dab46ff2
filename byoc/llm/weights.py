"""How the weights of linear layers are kept: floats, or integers of eight or four bits in groups."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from byoc.artifact.dtypes import numpy_dtype
from byoc.errors import UsageError

Array = np.ndarray[Any, Any]
_FLOATS = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
_LARGEST = {"float16": "65504", "bfloat16": "3.39e38"}
_INTEGERS = re.compile(r"(rtn|awq)(4|8)\Z")
_GRAMMAR = "write f32, f16, bf16, rtn8:g32, rtn4:g32 or awq4:g128"


@dataclass(frozen=True)
class WeightSpec:
    """The format of linear layers; of the embedding too, where it is one of floats.

    Attributes
    ----------
    bits: 32 and 16 are floats; 8 and 4 are integers.
    method: ``f`` and ``bf`` for IEEE's floats and bfloat16.  How integers are found: ``rtn`` rounds to nearest; ``awq``
        scales and clips by the activations on a calibration text before it rounds.
    group: inputs of a layer that share a scale, halved in layers whose inputs it does not divide; 0 means all.
    """

    bits: int = 32
    method: str = "f"
    group: int = 0

    @classmethod
    def parse(cls, text: str) -> WeightSpec:
        """From text such as ``"f16"``, ``"rtn4:g32"``, ``"awq4:g128"``.  Raises :class:`UsageError`."""
        base, *options = text.strip().split(":")
        if base in _FLOATS and not options:
            return cls(int(base[-2:]), base[:-2])
        match = _INTEGERS.match(base)
        if match is None:
            raise UsageError(f'"{text}" is no format of weights', "", _GRAMMAR)
        group = 32
        for option in options:
            if not re.fullmatch(r"g[0-9]+", option):
                raise UsageError(f'"{text}": the option "{option}" is unknown', "", _GRAMMAR)
            group = int(option[1:])
        return cls(int(match[2]), match[1], group)

    @property
    def is_float(self) -> bool:
        return self.bits >= 16

    @property
    def dtype(self) -> str:
        """What floats are stored as, such as ``"float16"``; embedding and norms of integer formats stay float32."""
        return _FLOATS[str(self)] if self.is_float else "float32"

    def __str__(self) -> str:
        return f"{self.method}{self.bits}" + ("" if self.is_float else f":g{self.group}")


@dataclass(frozen=True)
class PackedWeights:
    """Integers of a linear layer: ``weight[o, k] = scale[o, k // group] * (q[o, k] - zero[o, k // group])``.

    Attributes
    ----------
    packed: uint8[outputs, inputs * bits / 8], earlier inputs in the lower bits of a byte.
    scale: float16[outputs, inputs / group].
    zero: uint8[outputs, inputs / group].
    order: int64[inputs], the layer's input that each k stands for; None where it is k itself.
    """

    packed: Array
    scale: Array
    zero: Array
    bits: int
    order: Array | None = None

    @property
    def group(self) -> int:
        return self.packed.shape[1] * 8 // self.bits // self.scale.shape[1]

    @property
    def nbytes(self) -> int:
        return self.packed.nbytes + self.scale.nbytes + self.zero.nbytes


def group_of(inputs: int, group: int) -> int:
    """The group of a layer with so many inputs: the one asked for, halved until it divides them; 0 asks for all inputs.

    Raises :class:`UsageError` where none of at least 8 inputs does.
    """
    fitting = group or inputs
    while inputs % fitting and fitting % 16 == 0:
        fitting //= 2
    if inputs % fitting:
        raise UsageError(
            f"weights of {inputs} inputs cannot be kept in groups of {group}",
            "the group, or a half of it, a quarter... of at least 8, must divide the inputs of every linear layer",
            "use a smaller group, such as g32",
        )
    return fitting


def halves(name: str, array: Array, dtype: str) -> Array:
    """Floats rounded to ``float16`` or ``bfloat16``.  Raises :class:`UsageError` where they leave its range."""
    with np.errstate(over="ignore"):
        rounded = array.astype(numpy_dtype(dtype))
    if not np.isfinite(rounded.astype(np.float32)).all():
        raise UsageError(
            f'"{name}" cannot be kept as {dtype}: its largest magnitude is {np.abs(array).max():.6g}',
            f"{dtype} ends at {_LARGEST[dtype]}",
            f"keep the weights as {'bf16 or f32' if dtype == 'float16' else 'f32'}",
        )
    return rounded


def round_to_nearest(weight: Array, bits: int, group: int) -> PackedWeights:
    """Each group's range, widened to include zero, divided into ``2**bits - 1`` steps; float32[outputs, inputs] in.

    Raises :class:`UsageError` as :func:`group_of` does.
    """
    outputs, inputs = weight.shape
    group = group_of(inputs, group)
    levels = (1 << bits) - 1
    parts = weight.astype(np.float32).reshape(outputs, inputs // group, group)
    low, high = np.minimum(parts.min(-1), 0), np.maximum(parts.max(-1), 0)
    scale = ((high - low) / levels).astype(np.float16)
    step = scale.astype(np.float32)
    inverse = np.divide(1, step, out=np.zeros_like(step), where=step > 0)
    zero = np.clip(np.rint(-low * inverse), 0, levels)
    quanta = np.clip(np.rint(parts * inverse[..., None]) + zero[..., None], 0, levels)
    return PackedWeights(pack(quanta.reshape(outputs, inputs), bits), scale, zero.astype(np.uint8), bits)


def pack(quanta: Array, bits: int) -> Array:
    """Integers (``[outputs, inputs]``) in bytes, earlier ones in the lower bits."""
    fields = quanta.astype(np.uint8).reshape(len(quanta), -1, 8 // bits)
    return np.bitwise_or.reduce(fields << np.arange(0, 8, bits, dtype=np.uint8), axis=-1)
