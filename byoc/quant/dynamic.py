"""Dynamic quantisation: matrix products with constant weights in 8 bits, activations quantised as they come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from byoc.errors import QuantizationError
from byoc.importer.source import ModelSource, read_model
from byoc.importer.tensors import TensorReader
from byoc.quant.float_graph import FloatGraph, attribute, float_graph
from byoc.quant.keep import kept_nodes
from byoc.quant.result import write_whole


@dataclass(frozen=True)
class DynamicModel:
    """The outcome of :func:`quantize_dynamic`: the model, and the names of the products that were quantised."""

    proto: onnx.ModelProto
    products: tuple[str, ...]

    def save(self, path: str | Path) -> None:
        """Write the model to `path`."""
        write_whole(Path(path), self.proto.SerializeToString(deterministic=True))


def quantize_dynamic(model: ModelSource, *, keep: Sequence[str] = ()) -> DynamicModel:
    """Quantise matrix products with constant weights, and nothing else; needs no calibration data.

    ``y = x @ w`` becomes ``DynamicQuantizeLinear(x)``, ``MatMulInteger``, and a product with both scales: uint8
    activations with one scale for the tensor, int8 weights with one scale for each column, without zero points.

    Parameters
    ----------
    model: path of an ONNX file, its bytes, or a ``ModelProto``.
    keep: nodes that stay float: ``NODE``, ``op:TYPE`` or ``/regex/``.

    Raises
    ------
    ModelError: the model cannot be read, is quantised already, or has no product with constant weights.
    UsageError: an entry of `keep` names nothing.
    """
    source = read_model(model)
    graph = float_graph(source.proto, TensorReader(source.folder))
    kept = kept_nodes(graph, keep)
    writer = _Writer(graph)
    for node in graph.nodes:
        if node.name not in kept and _is_product(graph, node):
            writer.product(node)
        else:
            writer.nodes.append(node)
    if not writer.products:
        raise QuantizationError("the model has no matrix product with constant weights that may be quantised")
    return DynamicModel(graph.to_model(writer.nodes, writer.constants), tuple(writer.products))


def _is_product(graph: FloatGraph, node: onnx.NodeProto) -> bool:
    if node.op_type not in ("MatMul", "Gemm") or node.input[0] in graph.constants:
        return False
    weight = graph.constants.get(node.input[1])
    if weight is None or weight.ndim != 2 or weight.dtype != np.float32 or not weight.any():
        return False
    default = attribute(node, "alpha", 1.0) == 1.0 and attribute(node, "beta", 1.0) == 1.0
    return node.op_type == "MatMul" or (default and not attribute(node, "transA", 0))


class _Writer:
    def __init__(self, graph: FloatGraph) -> None:
        self.graph = graph
        self.constants = dict(graph.constants)
        self.nodes: list[onnx.NodeProto] = []
        self.products: list[str] = []
        self.quantised: dict[str, tuple[str, str, str]] = {}

    def product(self, node: onnx.NodeProto) -> None:
        name, output = str(node.name), str(node.output[0])
        weight = self.graph.constants[node.input[1]]
        if attribute(node, "transB", 0):
            weight = weight.T
        peaks = np.abs(weight).max(axis=0)
        scale = np.where(peaks > 0, peaks / 127, 1.0).astype("float32")
        self.constants[f"{name}_weight_quantized"] = np.clip(np.rint(weight / scale), -127, 127).astype("int8")
        self.constants[f"{name}_weight_scale"] = scale
        integers, step, zero = self._quantised(str(node.input[0]))
        bias = node.input[2] if len(node.input) > 2 else ""
        last = f"{name}_scaled" if bias else output
        self._emit("MatMulInteger", [integers, f"{name}_weight_quantized", zero], f"{name}_totals")
        self._emit("Cast", [f"{name}_totals"], f"{name}_float_totals", to=onnx.TensorProto.FLOAT)
        self._emit("Mul", [step, f"{name}_weight_scale"], f"{name}_scales")
        self._emit("Mul", [f"{name}_float_totals", f"{name}_scales"], last)
        if bias:
            self._emit("Add", [last, bias], output)
        self.products.append(name)

    def _quantised(self, name: str) -> tuple[str, str, str]:
        """(integers, scale, zero point) of an activation, computed once."""
        if name not in self.quantised:
            outputs = tuple(f"{name}_{part}" for part in ("quantized", "scale", "zero_point"))
            self.nodes.append(
                helper.make_node("DynamicQuantizeLinear", [name], list(outputs), f"{name}_dynamic_quantize")
            )
            self.quantised[name] = (outputs[0], outputs[1], outputs[2])
        return self.quantised[name]

    def _emit(self, op_type: str, inputs: list[str], output: str, **attributes: int) -> None:
        self.nodes.append(helper.make_node(op_type, inputs, [output], f"{output}_{op_type.lower()}", **attributes))
