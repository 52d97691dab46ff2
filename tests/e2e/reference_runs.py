"""What ONNX Runtime makes of a model, and of the same model put so that its own inexactness drops out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

Tensors = dict[str, np.ndarray]


@dataclass(frozen=True)
class Reference:
    """``name`` says how ONNX Runtime was run; ``model`` is what byoc is to be given in place of the original."""

    name: str
    model: onnx.ModelProto | Path
    feeds: Tensors
    outputs: Tensors
    steps: frozenset[str] = field(default_factory=frozenset)  # outputs that may be one rounding step off


def run(model: onnx.ModelProto | Path, feeds: Mapping[str, np.ndarray], *, optimised: bool = True) -> Tensors:
    """Outputs by name."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    content = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = list(dict.fromkeys(output.name for output in session.get_outputs()))
    wanted = {value.name for value in session.get_inputs()}
    return dict(zip(names, session.run(names, {k: v for k, v in feeds.items() if k in wanted}), strict=True))


def stricter_references(model: onnx.ModelProto, feeds: Tensors) -> list[Reference]:
    """The runs that a model is judged by whose result differs from ONNX Runtime's usual one."""
    operators = {node.op_type for node in model.graph.node}
    found = []
    if "InstanceNormalization" in operators:
        exact = with_double_statistics(model)
        found.append(Reference("statistics in float64", model, feeds, run(exact, feeds)))
    if any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer):
        exact = run(in_float32(model), {name: _widened(value) for name, value in feeds.items()})
        halves = {v.name for v in model.graph.output if v.type.tensor_type.elem_type == TensorProto.FLOAT16}
        rounded = {name: v.astype(np.float16) if name in halves else v for name, v in exact.items()}
        found.append(Reference("all in float32", model, feeds, rounded))
    if "QuantizeLinear" in operators:
        plain = run(model, feeds, optimised=False)
        found.append(Reference("no graph optimisation", model, feeds, plain))
        found.append(_each_layer_alone(model, feeds))
    return found


def with_double_statistics(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with each InstanceNormalization (of images) spelled out in float64.

    ONNX Runtime adds a plane up in one float32 accumulator: of a plane of 800 x 800 four digits are left.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    nodes: list[onnx.NodeProto] = []
    for index, node in enumerate(model.graph.node):
        nodes += _spelled_out(node, f"exact{index}/") if node.op_type == "InstanceNormalization" else [node]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy


def in_float32(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every float16 made float32: ONNX Runtime rounds each value in between to eleven bits."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(_widened(numpy_helper.to_array(tensor)), tensor.name))
    for value in (*copy.graph.input, *copy.graph.output, *copy.graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for node in copy.graph.node:
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
            if attribute.HasField("t") and attribute.t.data_type == TensorProto.FLOAT16:
                attribute.t.CopyFrom(numpy_helper.from_array(_widened(numpy_helper.to_array(attribute.t))))
    return copy


def _widened(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _spelled_out(node: onnx.NodeProto, prefix: str) -> list[onnx.NodeProto]:
    epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
    names = iter(range(100))

    def add(kind: str, inputs: list[str], output: str = "", **attributes: object) -> str:
        output = output or f"{prefix}{next(names)}"
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(value: object, dtype: str) -> str:
        return add("Constant", [], value=numpy_helper.from_array(np.array(value, dtype)))

    nodes: list[onnx.NodeProto] = []
    x = add("Cast", [node.input[0]], to=TensorProto.DOUBLE)
    shape = constant([1, -1, 1, 1], "int64")
    scale, shift = (add("Reshape", [add("Cast", [v], to=TensorProto.DOUBLE), shape]) for v in node.input[1:3])
    centred = add("Sub", [x, add("ReduceMean", [x], axes=[2, 3])])
    variance = add("ReduceMean", [add("Mul", [centred, centred])], axes=[2, 3])
    spread = add("Sqrt", [add("Add", [variance, constant(epsilon, "float64")])])
    scaled = add("Add", [add("Mul", [add("Div", [centred, spread]), scale]), shift])
    add("Cast", [scaled], node.output[0], to=TensorProto.FLOAT)
    return nodes


def _each_layer_alone(model: onnx.ModelProto, feeds: Tensors) -> Reference:
    """The model cut behind every rounding, each piece fed with what ONNX Runtime has there.

    A sum that lies on the border of two steps may fall on either side, by the order in which it was added up; behind
    the rounding that is a whole step, and fifty layers later another result.  Cut, no piece hands it on.
    """
    rounded = [n.output[0] for n in model.graph.node if n.op_type == "QuantizeLinear"]
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    own = {value.name for value in model.graph.output}
    whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in rounded if name not in own)
    values = run(whole, feeds, optimised=False)
    for node in whole.graph.node:
        for index, name in enumerate(node.input):
            if name in rounded:
                node.input[index] = f"{name}/given"
    given = {f"{name}/given": values[name] for name in rounded}
    whole.graph.input.extend(
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in given.items()
    )
    return Reference("each layer alone", whole, {**feeds, **given}, values, frozenset(rounded))
