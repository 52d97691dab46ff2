"""Operators that TVM's own ONNX converters get right, behind a guard that notices what a converter did not look at."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import onnx
from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend

from byoc.importer.table import Results, lowers

if TYPE_CHECKING:
    from byoc.importer.node_view import NodeView

_CONVERTERS = onnx_frontend._get_convert_map()


class _Attributes(dict[str, Any]):
    """Attributes in the form that the converters expect; remembers which were read."""

    def __init__(self, view: NodeView) -> None:
        super().__init__({name: _raw(value) for name, value in view.attributes.items()})
        self["tvm_custom"] = {"name": view.node.name, "num_outputs": len(view.node.proto.output)}
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.read.add(name)
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        if isinstance(name, str) and name != "auto_pad":
            self.read.add(name)
        return super().__contains__(name)


def stock(operator: str) -> None:
    """Lower ``operator`` of ONNX's own domain with TVM's converter."""
    lowers(operator)(convert)


def convert(view: NodeView) -> Results:
    """What TVM's converter makes of the node."""
    attributes = _Attributes(view)
    tensors = (None if value is None else view.builder.as_tensor(value) for value in view.inputs)
    convert_node = _CONVERTERS[view.node.proto.op_type].get_converter(view.version)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = convert_node(view.builder.block_builder, onnx_frontend.onnx_input(tensors), attributes, [{}, {}])
    view.mark_read(*attributes.read)
    return list(result.fields) if isinstance(result, relax.Tuple) else result


def _raw(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    return tuple(value) if hasattr(value, "append") or isinstance(value, list) else value
