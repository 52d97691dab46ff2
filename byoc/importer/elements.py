"""Inputs that are sequences: as many tensors ``x[0]``, ``x[1]``... as the caller gives shapes for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import onnx

from byoc.errors import UnsupportedModelError


def sequence_type(kind: onnx.TypeProto) -> onnx.TypeProto | None:
    """The type of the elements of a sequence, or of an optional that holds one; None for what is no sequence."""
    inner = kind.optional_type.elem_type if kind.HasField("optional_type") else kind
    return inner.sequence_type.elem_type if inner.HasField("sequence_type") else None


def with_elements(
    inputs: Iterable[onnx.ValueInfoProto], shapes: Mapping[str, Sequence[int | str | None]]
) -> tuple[list[onnx.ValueInfoProto], dict[str, Sequence[int | str | None]]]:
    """Inputs and shapes of tensors only.

    A shape of ``x[i]`` makes element i of the sequence ``x`` an input; an empty shape of ``x`` itself says that it has
    no elements.  Raises :class:`UnsupportedModelError` for a sequence without either.
    """
    tensors, left = [], dict(shapes)
    for value in inputs:
        element = sequence_type(value.type)
        if element is None:
            tensors.append(value)
            continue
        count = element_count(value.name, left)
        if count is None:
            raise UnsupportedModelError(
                f'input "{value.name}" is a sequence',
                "how many elements it has, and of which shapes, must be known at import",
                f'give the shape of each, such as --shape "{value.name}[0]=2,3".',
            )
        left.pop(value.name, None)
        own = _with_own_symbols(element)
        tensors.extend(onnx.ValueInfoProto(name=f"{value.name}[{i}]", type=own) for i in range(count))
    return tensors, left


def _with_own_symbols(element: onnx.TypeProto) -> onnx.TypeProto:
    """A name that the type of a sequence gives a dimension says nothing of another element's dimension."""
    own = onnx.TypeProto()
    own.CopyFrom(element)
    for dim in own.tensor_type.shape.dim:
        if dim.HasField("dim_param"):
            dim.Clear()
    return own


def element_count(name: str, shapes: Mapping[str, object]) -> int | None:
    """How many elements of the sequence ``shapes`` are given for; None: nothing is said of it."""
    pattern = re.compile(rf"{re.escape(name)}\[(\d+)\]")
    places = [int(found.group(1)) for found in map(pattern.fullmatch, shapes) if found]
    if not places:
        return 0 if name in shapes and not shapes[name] else None
    return max(places) + 1
