"""``byoc`` as an ONNX backend: what `onnx.backend.test` and other users of ``onnx.backend.base`` call.

import onnx, byoc.onnx_backend as backend
outputs = backend.prepare(onnx.load("model.onnx"), targets=["csource"]).run([x])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep, Device, DeviceType, namedtupledict

import byoc
from byoc.errors import UnsupportedModelError
from byoc.runtime.session import Session

__all__ = ["ByocBackend", "ByocBackendRep", "is_compatible", "prepare", "run_model", "run_node", "supports_device"]


class ByocBackendRep(BackendRep):
    """A model compiled and loaded.

    ``sequences``: names of the model's outputs that are sequences, whose elements the session returns one by one.
    """

    def __init__(self, session: Session, sequences: Sequence[str] = ()) -> None:
        self.session = session
        (entry,) = session.entry_functions
        self._inputs = [spec.name for spec in entry.inputs]
        self._outputs: dict[str, list[str]] = {}
        self._sequences = set(sequences)
        for spec in entry.outputs:
            whole = spec.name.rpartition("[")[0]
            self._outputs.setdefault(whole if whole in self._sequences else spec.name, []).append(spec.name)

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Outputs, in order and by name, of one run.

        ``inputs``: arrays in the order of the model's inputs, or by name; one array alone stands for itself.
        """
        if isinstance(inputs, np.ndarray):
            inputs = [inputs]
        given = inputs if isinstance(inputs, dict) else dict(zip(self._inputs, inputs, strict=True))
        results = self.session.run(given)
        values = [
            [results[part] for part in parts] if name in self._sequences else results[name]
            for name, parts in self._outputs.items()
        ]
        outputs: tuple[Any, ...] = namedtupledict("Outputs", list(self._outputs))(*values)
        return outputs


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
        kinds = {value.name: value.type.WhichOneof("value") for value in model.graph.output}
        sequences = [name for name, kind in kinds.items() if kind != "tensor_type"]
        return ByocBackendRep(byoc.compile(model, **kwargs).session(), sequences)

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
