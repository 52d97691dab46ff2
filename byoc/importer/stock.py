"""Operators that TVM's own ONNX converters get right, behind a guard that notices what a converter did not look at."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import onnx
from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend

from byoc.importer.table import Lowering, lowers

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


def stock(operator: str, *, domain: str = "", since: int = 1, version: int | None = None) -> Lowering:
    """Lower ``operator`` with TVM's converter (its variant for ``version``, default: the node's opset)."""
    converter = _CONVERTERS[operator]

    def lower(view: NodeView) -> Any:
        attributes = _Attributes(view)
        inputs = onnx_frontend.onnx_input(
            None if value is None else view.builder.as_tensor(value) for value in view.inputs
        )
        convert = converter.get_converter(version or view.version)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = convert(view.builder.block_builder, inputs, attributes, [{}, {}])
        view.mark_read(*attributes.read)
        if isinstance(result, relax.Tuple):
            return list(result.fields)
        return result

    return lowers(operator, domain=domain, since=since)(lower)


def _raw(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    return tuple(value) if hasattr(value, "append") or isinstance(value, list) else value
