"""Running an imported model on the host alone, beside ONNX Runtime or a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime
import tvm
from onnx import TensorProto, helper, numpy_helper
from tvm import relax

from byoc.host.pipeline import compile_host
from byoc.importer import ImportedModel, import_model

ELEMENTS = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "bool": TensorProto.BOOL,
}


def make_model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, tuple[str, Sequence[object]]],
    outputs: Sequence[str] = ("y",),
    weights: Mapping[str, np.ndarray] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    """A model; ``inputs`` gives dtype and shape by name; outputs have no declared type."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(name, ELEMENTS[dtype], shape) for name, (dtype, shape) in inputs.items()],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def node(op: str, inputs: str, outputs: str = "y", **attributes: object) -> onnx.NodeProto:
    """Names are separated by blanks; ``_`` is an absent one."""
    names = [["" if name == "_" else name for name in part.split()] for part in (inputs, outputs)]
    return helper.make_node(op, names[0], names[1], **attributes)


def run_on_host(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The outputs as the host computes them."""
    return execute(import_model(model), feeds)


def execute(imported: ImportedModel, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    machine = relax.VirtualMachine(compile_host(imported.module, "native"), tvm.cpu())
    arguments = [tvm.runtime.tensor(np.asarray(feeds[spec.name])) for spec in imported.inputs]
    result = machine["main"](*arguments)
    return [value.numpy() for value in ([result] if isinstance(result, tvm.runtime.Tensor) else result)]


def run_on_onnxruntime(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, dict(feeds))


def assert_same(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray], tolerance: float = 1e-5) -> None:
    """Both give the same shapes, dtypes and values."""
    for got, wanted in zip(run_on_host(model, feeds), run_on_onnxruntime(model, feeds), strict=True):
        assert got.dtype == wanted.dtype
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)
