"""What the ONNX standard says of an operator, and whether a node keeps to it: inputs, attributes, types."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from byoc.importer.node_view import NodeView

_VARIADIC = onnx.defs.OpSchema.FormalParameterOption.Variadic
_SINGLE = onnx.defs.OpSchema.FormalParameterOption.Single
_KINDS = onnx.AttributeProto.AttributeType


@dataclass(frozen=True)
class Definition:
    """An operator of the standard.

    Attributes
    ----------
    least, most: how many inputs it takes.
    names: of its inputs.
    optional: positions of inputs that may be left out in the middle.
    alike: positions of inputs that must have one element type.
    attributes: kind of each attribute.
    required: attributes without which there is no node.
    """

    least: int
    most: int
    names: tuple[str, ...]
    optional: frozenset[int]
    alike: tuple[tuple[int, ...], ...]
    attributes: dict[str, int]
    required: tuple[str, ...]


@functools.lru_cache(maxsize=1024)
def definition(domain: str, operator: str, version: int) -> Definition | None:
    """The operator as that opset version has it; None for operators that the standard does not know."""
    try:
        schema = onnx.defs.get_schema(operator, version, domain)
    except onnx.defs.SchemaError:
        return None
    kinds: dict[str, list[int]] = {}
    for index, parameter in enumerate(schema.inputs):
        if parameter.option != _VARIADIC:
            kinds.setdefault(parameter.type_str, []).append(index)
    return Definition(
        schema.min_input,
        schema.max_input,
        tuple(parameter.name for parameter in schema.inputs),
        frozenset(i for i, p in enumerate(schema.inputs) if p.option != _SINGLE),
        tuple(tuple(indices) for indices in kinds.values() if len(indices) > 1),
        {name: int(attribute.type.value) for name, attribute in schema.attributes.items()},
        tuple(sorted(name for name, attribute in schema.attributes.items() if attribute.required)),
    )


def check_node(view: NodeView) -> None:
    """Refuse the node where it contradicts the standard's definition of its operator."""
    wanted = definition(view.node.domain, view.node.proto.op_type, view.version)
    if wanted is None:
        return
    _check_inputs(view, wanted)
    for name in wanted.required:
        if name not in view.attributes:
            view.refuse(f'its attribute "{name}" is missing')
    for name, attribute in view.attributes.items():
        kind = wanted.attributes.get(name, attribute.type)
        if attribute.type not in (kind, 0):  # 0 in files from before attributes had a kind
            view.refuse(f'its attribute "{name}" is {_kind(attribute.type)}; it must be {_kind(kind)}')


def _check_inputs(view: NodeView, wanted: Definition) -> None:
    count = len(view.inputs)
    if count > wanted.most:
        view.refuse(f"it has {count} inputs; {view.node.op_type} takes at most {wanted.most}")
    for index in range(wanted.least):
        if not view.has(index) and index not in wanted.optional:
            named = wanted.names[min(index, len(wanted.names) - 1)]
            view.refuse(f'its input {index} ("{named}") is missing')
    for indices in wanted.alike:
        _check_alike(view, [(wanted.names[i], view.dtype(i)) for i in indices if view.has(i)])


def _check_alike(view: NodeView, inputs: Sequence[tuple[str, str]]) -> None:
    if len({dtype for _, dtype in inputs}) > 1:
        shown = ", ".join(f'"{name}" {dtype}' for name, dtype in inputs)
        view.refuse(f"its inputs must have one element type, and have several: {shown}")


def _kind(kind: int) -> str:
    name = str(_KINDS.Name(kind)).lower() if kind in _KINDS.values() else f"of kind {kind}"
    return {"int": "an int", "ints": "ints", "floats": "floats", "strings": "strings"}.get(name, f"a {name}")
