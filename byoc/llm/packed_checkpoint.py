"""Checkpoints whose linear layers are integers already, as AutoAWQ and AutoGPTQ write them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from byoc.errors import ModelFileError, UnsupportedModelError
from byoc.llm.checkpoint import Checkpoint
from byoc.llm.config_fields import Fields
from byoc.llm.weights import PackedWeights, pack

Array = np.ndarray[Any, Any]
_LAYOUTS = {"awq": ("gemm",), "gptq": ("gptq", "gptq_v2")}
_AWQ_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)  # the place, counted in fours of bits, of each of eight neighbouring outputs


@dataclass(frozen=True)
class PackedFormat:
    """How integers lie in a checkpoint.

    ``awq``: ``qweight`` int32[inputs, outputs / 8], outputs interleaved; ``qzeros`` int32[groups, outputs / 8]
    likewise.  ``gptq``: ``qweight`` int32[inputs * bits / 32, outputs], earlier inputs in the lower bits; ``qzeros``
    int32[groups, outputs * bits / 32]; perhaps ``g_idx`` int32[inputs], the group of each input.  Both: ``scales``
    float16[groups, outputs].

    Attributes
    ----------
    method: ``awq`` or ``gptq``.
    bits: 4, or 8 with ``gptq``.
    group: inputs that share a scale; 0 means all.
    offset: what is added to a stored zero: 1 in the first version of ``gptq``.
    """

    method: str
    bits: int
    group: int
    offset: int = 0

    def __str__(self) -> str:
        return f"{self.method}{self.bits}:g{self.group}"


def packed_format(fields: Fields) -> PackedFormat | None:
    """From the field ``quantization_config`` of a ``config.json``; None where there is none.

    Raises :class:`UnsupportedModelError` for other methods, widths and layouts.
    """
    found = fields.inner("quantization_config")
    if found is None:
        return None
    method = found.text("quant_method", "?").lower()
    bits = found.whole("bits" if "bits" in found else "w_bit", 0, least=0)
    usual = _LAYOUTS.get(method, ("?",))[0]
    layout = found.text("version" if method == "awq" else "checkpoint_format", usual).lower()
    group = found.whole("group_size" if "group_size" in found else "q_group_size", -1, least=-1)
    if (method, bits) not in (("awq", 4), ("gptq", 4), ("gptq", 8)):
        raise _unsupported(f'the checkpoint is quantised by "{method}" to {bits or "?"} bits')
    if layout not in _LAYOUTS[method]:
        raise _unsupported(f'the checkpoint is quantised by "{method}" in the layout "{layout}"')
    if found.inner("dynamic"):
        raise _unsupported("the checkpoint has layers of different widths", 'quantization_config has a field "dynamic"')
    return PackedFormat(method, bits, max(group, 0), int(method == "gptq" and layout == "gptq"))


def _unsupported(what: str, why: str = "") -> UnsupportedModelError:
    return UnsupportedModelError(
        what,
        why or "byoc reads awq of 4 bits (version gemm), and gptq of 4 or 8 bits (checkpoint_format gptq or gptq_v2)",
        "take the checkpoint in floats and quantise it with --weights",
    )


def read_packed(checkpoint: Checkpoint, prefix: str, form: PackedFormat, shape: tuple[int, ...]) -> PackedWeights:
    """The linear layer of that prefix, [outputs, inputs] as `shape` says.  Raises :class:`ModelFileError`."""
    outputs, inputs = shape
    group = form.group or inputs
    per_word = 32 // form.bits
    if inputs % group or outputs % per_word or inputs % per_word:
        raise ModelFileError(
            f"{prefix} of {inputs} inputs and {outputs} outputs cannot be read in groups of {group}",
            f"groups must divide the inputs, and {per_word} numbers of {form.bits} bits fill a word",
            "take the checkpoint in floats and quantise it with --weights",
        )
    groups = inputs // group
    words = _words(checkpoint, f"{prefix}.qweight", _weight_shape(form, outputs, inputs))
    zeros = _words(checkpoint, f"{prefix}.qzeros", (groups, outputs // per_word))
    scale = checkpoint.floats(f"{prefix}.scales", (groups, outputs)).T
    if form.method == "awq":
        quanta, zero = _interleaved(words).T, _interleaved(zeros).T
    else:
        quanta, zero = _fields(words.T, form.bits), _fields(zeros, form.bits).T
    zero = (zero + form.offset) & ((1 << form.bits) - 1)
    order = _order(checkpoint, prefix, inputs, group)
    if order is not None:
        quanta = quanta[:, order]
    with np.errstate(over="ignore"):
        halves = np.ascontiguousarray(scale, dtype=np.float16)
    if not np.isfinite(halves).all():
        raise ModelFileError(
            f'tensor "{prefix}.scales" holds {np.abs(scale).max():.6g}',
            "scales are kept as float16, which ends at 65504",
            "take the checkpoint in floats and quantise it with --weights",
        )
    return PackedWeights(pack(quanta, form.bits), halves, np.ascontiguousarray(zero, dtype=np.uint8), form.bits, order)


def _weight_shape(form: PackedFormat, outputs: int, inputs: int) -> tuple[int, int]:
    per_word = 32 // form.bits
    return (inputs, outputs // per_word) if form.method == "awq" else (inputs // per_word, outputs)


def _words(checkpoint: Checkpoint, name: str, shape: tuple[int, int]) -> Array:
    words = checkpoint.tensor(name, shape)
    if words.dtype.kind not in "iu" or words.dtype.itemsize != 4:
        raise ModelFileError(
            f'tensor "{name}" is {words.dtype}', "packed integers lie in words of int32", "download the model again"
        )
    return words


def _order(checkpoint: Checkpoint, prefix: str, inputs: int, group: int) -> Array | None:
    """The inputs sorted by their groups, or None where they lie so."""
    if f"{prefix}.g_idx" not in checkpoint:
        return None
    index = checkpoint.tensor(f"{prefix}.g_idx", (inputs,)).astype(np.int64)
    order = np.argsort(index, kind="stable")
    if not np.array_equal(index[order], np.arange(inputs) // group):
        raise ModelFileError(
            f'"{prefix}.g_idx" does not put {group} inputs into each of {inputs // group} groups',
            "every group has a scale of its own, and group_size inputs",
            "quantise the model again",
        )
    return None if np.array_equal(order, np.arange(inputs)) else order


def _fields(words: Array, bits: int) -> Array:
    """Numbers of each row of int32, earlier ones in the lower bits."""
    shifts = np.arange(0, 32, bits, dtype=np.uint32)
    fields = (np.ascontiguousarray(words).view(np.uint32)[:, :, None] >> shifts) & ((1 << bits) - 1)
    return fields.reshape(len(words), -1).astype(np.uint8)


def _interleaved(words: Array) -> Array:
    fields = _fields(words, 4).reshape(len(words), -1, 8)
    return fields[:, :, list(_AWQ_ORDER)].reshape(len(words), -1)
