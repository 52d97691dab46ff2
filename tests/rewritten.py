"""Small ONNX models in text, what becomes of them in canonical form, and whether they still compute the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper, parser

import byoc
from byoc.graph import Graph
from byoc.model import prepare_model


def model_of(inputs: str, outputs: str, body: str, weights: Mapping[str, np.ndarray] | None = None) -> onnx.ModelProto:
    """``model_of("float[2,4] x", "float[2,4] y", "y = Relu(x)")``, opset 17."""
    text = f'<ir_version: 8, opset_import: ["" : 17]> g ({inputs}) => ({outputs}) {{ {body} }}'
    model = parser.parse_model(text)
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in (weights or {}).items())
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
    return model


def canonical(model: onnx.ModelProto) -> Graph:
    """The graph that planning sees."""
    return prepare_model(model, []).graphs["main"]


def ops_of(model: onnx.ModelProto) -> dict[str, int]:
    """How often each op is in the canonical form."""
    return dict(Counter(node.op for node in canonical(model).nodes))


def random_inputs(model: onnx.ModelProto, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        value.name: rng.standard_normal([d.dim_value for d in value.type.tensor_type.shape.dim]).astype("float32")
        for value in model.graph.input
    }


def assert_computes_the_same(model: onnx.ModelProto, rtol: float = 1e-5, atol: float = 1e-5) -> None:
    """The host's results against ONNX Runtime's, without its optimisations."""
    inputs = random_inputs(model)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    wanted = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, inputs)
    with byoc.compile(model, [], use_cache=False).session() as session:
        got = session.run(inputs)
    for output, want in zip(model.graph.output, wanted, strict=True):
        np.testing.assert_allclose(got[output.name], want, rtol=rtol, atol=atol, err_msg=output.name)
