"""``byoc`` as an ONNX backend: what `onnx.backend.test` and other users of ``onnx.backend.base`` call.

import onnx, byoc.onnx_backend as backend
outputs = backend.prepare(onnx.load("model.onnx"), targets=["csource"]).run([x])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep, Device, DeviceType, namedtupledict

import byoc
from byoc.errors import UnsupportedModelError
from byoc.importer.elements import element_count, sequence_type
from byoc.runtime.session import Session

__all__ = ["ByocBackend", "ByocBackendRep", "is_compatible", "prepare", "run_model", "run_node", "supports_device"]


class ByocBackendRep(BackendRep):
    """A model compiled and loaded.

    Where inputs are sequences it is compiled at the first run for elements of these shapes, and again for others.
    """

    def __init__(self, model: onnx.ModelProto, keywords: Mapping[str, Any]) -> None:
        self._model, self._keywords = model, dict(keywords)
        weights = {tensor.name for tensor in model.graph.initializer}
        self._inputs = [value.name for value in model.graph.input if value.name not in weights]
        self._outputs = {v.name: sequence_type(v.type) is not None for v in model.graph.output}
        self._sequences = {v.name for v in model.graph.input if sequence_type(v.type) is not None}
        self._sessions: dict[tuple[tuple[str, tuple[int, ...]], ...], Session] = {}
        if not self._sequences:
            self._session({})

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Outputs, in order and by name, of one run; a sequence is a list of arrays.

        ``inputs``: arrays in the order of the model's inputs, or by name; one array alone stands for itself.
        """
        if isinstance(inputs, np.ndarray):
            inputs = [inputs]
        given = inputs if isinstance(inputs, dict) else dict(zip(self._inputs, inputs, strict=True))
        feeds: dict[str, Any] = {}
        shapes: dict[str, tuple[int, ...]] = {}
        for name, value in given.items():
            if name not in self._sequences:
                feeds[name] = value
                continue
            elements = {f"{name}[{i}]": np.asarray(element) for i, element in enumerate(value)}
            feeds |= elements
            shapes |= {key: element.shape for key, element in elements.items()} or {name: ()}
        results = self._session(shapes).run(feeds)
        values = [_collected(name, results) if many else results[name] for name, many in self._outputs.items()]
        outputs: tuple[Any, ...] = namedtupledict("Outputs", list(self._outputs))(*values)
        return outputs

    def _session(self, shapes: Mapping[str, tuple[int, ...]]) -> Session:
        key = tuple(shapes.items())
        if key not in self._sessions:
            known = {**self._keywords.get("shapes", {}), **shapes}
            self._sessions[key] = byoc.compile(self._model, **{**self._keywords, "shapes": known}).session()
        return self._sessions[key]


def _collected(name: str, results: Mapping[str, Any]) -> list[Any]:
    """The elements of a sequence that a session returns one by one."""
    return [results[f"{name}[{i}]"] for i in range(element_count(name, results) or 0)]


class ByocBackend(Backend):
    """Keywords are those of :func:`byoc.compile`; ``targets`` are codegens in the order of priority."""

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether the model can be planned; it is not compiled."""
        try:
            byoc.partition(model, kwargs.get("targets", ()))
        except UnsupportedModelError:
            return False
        return cls.supports_device(device)

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> ByocBackendRep:
        """Compile and load; raises what :func:`byoc.compile` raises."""
        return ByocBackendRep(model, kwargs)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype, tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Run one node on arrays; ``opset_version`` is that of its domain, by default the newest that is known."""
        version = kwargs.pop("opset_version", onnx.defs.onnx_opset_version() if not node.domain else 1)
        names = [name for name in node.input if name]
        arrays = [np.asarray(array) for array in inputs]
        graph = onnx.helper.make_graph(
            [node],
            "node",
            [
                onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
                for name, a in zip(names, arrays, strict=True)
            ],
            [onnx.ValueInfoProto(name=name) for name in node.output if name],
        )
        imports = [onnx.helper.make_opsetid(node.domain, version)]
        return cls.prepare(onnx.helper.make_model(graph, opset_imports=imports), device, **kwargs).run(arrays)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Only the CPU: a codegen for another device is asked for as a target."""
        return bool(Device(device).type == DeviceType.CPU)


is_compatible = ByocBackend.is_compatible
prepare = ByocBackend.prepare
run_model = ByocBackend.run_model
run_node = ByocBackend.run_node
supports_device = ByocBackend.supports_device
