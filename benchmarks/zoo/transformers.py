"""Transformers of the usual shapes with seeded random weights, written as exporters write them."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import TensorProto, helper

from benchmarks.zoo.minilm_graph import minilm_builder
from benchmarks.zoo.random_weights import RandomWeights, Weights

VOCABULARY, POSITIONS = 30522, 512
BERT_LAYERS, BERT_HIDDEN, BERT_HEADS, BERT_FEED_FORWARD = 12, 768, 12, 3072
VIT_LAYERS, VIT_HIDDEN, VIT_HEADS, VIT_FEED_FORWARD = 12, 384, 6, 1536
PATCH, IMAGE, CLASSES = 16, 224, 1000


def bert_base(batch: int, sequence: int) -> onnx.ModelProto:
    """BERT-base (110 million parameters): layer norm decomposed, as exporters wrote it before opset 17.

    Inputs: ``input_ids`` and ``attention_mask``, int64 [batch, sequence].
    Output: ``last_hidden_state``, float32 [batch, sequence, 768].
    """
    build = minilm_builder()
    config = build.Config(BERT_LAYERS, BERT_HEADS, BERT_HIDDEN, 1e-12)
    graph = _decomposing_graph(build)(_bert_weights())
    x, bias = build.embeddings(graph, config), build.attention_bias(graph)
    for layer in range(config.layers):
        x = build.encoder_layer(graph, config, layer, x, bias)
    graph.nodes.append(helper.make_node("Identity", [x], ["last_hidden_state"], name="/Identity"))
    tokens = [
        ("input_ids", TensorProto.INT64, [batch, sequence]),
        ("attention_mask", TensorProto.INT64, [batch, sequence]),
    ]
    return _model(graph, "bert_base", tokens, ("last_hidden_state", [batch, sequence, BERT_HIDDEN]))


def _decomposing_graph(build: Any) -> Any:
    class Graph(build.Graph):
        def layer_norm(self, scope: str, weights: str, x: str, epsilon: float) -> str:
            mean = self.node("ReduceMean", f"{scope}/ReduceMean", [x], axes=[-1])
            centred = self.node("Sub", f"{scope}/Sub", [x, mean])
            square = self.node("Pow", f"{scope}/Pow", [centred, self.constant("two", 2.0)])
            variance = self.node("ReduceMean", f"{scope}/ReduceMean_1", [square], axes=[-1])
            shifted = self.node("Add", f"{scope}/Add", [variance, self.constant("epsilon", epsilon)])
            deviation = self.node("Sqrt", f"{scope}/Sqrt", [shifted])
            normal = self.node("Div", f"{scope}/Div", [centred, deviation])
            scaled = self.node("Mul", f"{scope}/Mul", [normal, self.weight(f"{weights}.weight")])
            return self.node("Add", f"{scope}/Add_1", [scaled, self.weight(f"{weights}.bias")])

    return Graph


def _bert_weights() -> Weights:
    random, weights = RandomWeights(0), Weights()

    def dense(name: str, outputs: int, inputs: int) -> None:
        weights[f"{name}.weight"], weights[f"{name}.bias"] = random.dense(outputs, inputs), random.small(outputs)

    def norm(name: str) -> None:
        weights[f"{name}.weight"], weights[f"{name}.bias"] = random.near_one(BERT_HIDDEN), random.small(BERT_HIDDEN)

    for table, rows in (("word", VOCABULARY), ("position", POSITIONS), ("token_type", 2)):
        weights[f"embeddings.{table}_embeddings.weight"] = random.normal(rows, BERT_HIDDEN, deviation=1.0)
    norm("embeddings.LayerNorm")
    for layer in range(BERT_LAYERS):
        scope = f"encoder.layer.{layer}"
        for role in ("query", "key", "value"):
            dense(f"{scope}.attention.self.{role}", BERT_HIDDEN, BERT_HIDDEN)
        dense(f"{scope}.attention.output.dense", BERT_HIDDEN, BERT_HIDDEN)
        norm(f"{scope}.attention.output.LayerNorm")
        dense(f"{scope}.intermediate.dense", BERT_FEED_FORWARD, BERT_HIDDEN)
        dense(f"{scope}.output.dense", BERT_HIDDEN, BERT_FEED_FORWARD)
        norm(f"{scope}.output.LayerNorm")
    return weights


def vit_small(batch: int) -> onnx.ModelProto:
    """ViT-S/16 (22 million parameters): one product for query, key and value, LayerNormalization of opset 17.

    Input: ``pixels``, float32 [batch, 3, 224, 224].  Output: ``logits``, float32 [batch, 1000].
    """
    graph = minilm_builder().Graph(_vit_weights())
    x = _patches(graph, batch)
    for layer in range(VIT_LAYERS):
        scope = f"/blocks.{layer}"
        attended = _vit_attention(graph, layer, graph.layer_norm(f"{scope}/norm1", f"blocks.{layer}.norm1", x, 1e-6))
        x = graph.node("Add", f"{scope}/Add", [x, attended])
        x = graph.node("Add", f"{scope}/Add_1", [x, _vit_feed_forward(graph, layer, x)])
    first = graph.node("Gather", "/Gather", [x, graph.constant("first", 0, "int64")], axis=1)
    logits = graph.dense("/head", "head", graph.layer_norm("/norm", "norm", first, 1e-6))
    graph.nodes.append(helper.make_node("Identity", [logits], ["logits"], name="/Identity"))
    return _model(
        graph, "vit_small", [("pixels", TensorProto.FLOAT, [batch, 3, IMAGE, IMAGE])], ("logits", [batch, CLASSES])
    )


def _patches(graph: Any, batch: int) -> str:
    """Embedded patches after the class token, with positions: [batch, 197, 384]."""
    convolution = ["pixels", graph.weight("patch.weight"), graph.weight("patch.bias")]
    embedded = graph.node("Conv", "/patch/Conv", convolution, kernel_shape=[PATCH, PATCH], strides=[PATCH, PATCH])
    flat = graph.node("Reshape", "/patch/Reshape", [embedded, graph.ints("patch_shape", 0, VIT_HIDDEN, -1)])
    rows = graph.node("Transpose", "/patch/Transpose", [flat], perm=[0, 2, 1])
    shape = graph.ints("class_shape", batch, 1, VIT_HIDDEN)
    token = graph.node("Expand", "/Expand", [graph.weight("class_token"), shape])
    joined = graph.node("Concat", "/Concat", [token, rows], axis=1)
    return graph.node("Add", "/Add", [joined, graph.weight("positions")])


def _vit_attention(graph: Any, layer: int, x: str) -> str:
    scope, weights, size = f"/blocks.{layer}/attn", f"blocks.{layer}.attn", VIT_HIDDEN // VIT_HEADS
    joint = graph.dense(f"{scope}/qkv", f"{weights}.qkv", x)
    parted = graph.node("Reshape", f"{scope}/Reshape", [joint, graph.ints("qkv_shape", 0, 0, 3, VIT_HEADS, size)])
    ordered = graph.node("Transpose", f"{scope}/Transpose", [parted], perm=[2, 0, 3, 1, 4])
    query, key, value = (
        graph.node("Gather", f"{scope}/Gather_{i}", [ordered, graph.constant(f"part_{i}", i, "int64")], axis=0)
        for i in range(3)
    )
    scaled = graph.node("Mul", f"{scope}/Mul", [query, graph.constant("query_scale", size**-0.5)])
    turned = graph.node("Transpose", f"{scope}/Transpose_1", [key], perm=[0, 1, 3, 2])
    scores = graph.node("MatMul", f"{scope}/MatMul", [scaled, turned])
    shares = graph.node("Softmax", f"{scope}/Softmax", [scores], axis=-1)
    context = graph.node("MatMul", f"{scope}/MatMul_1", [shares, value])
    back = graph.node("Transpose", f"{scope}/Transpose_2", [context], perm=[0, 2, 1, 3])
    merged = graph.node("Reshape", f"{scope}/Reshape_1", [back, graph.ints("merged_shape", 0, 0, VIT_HIDDEN)])
    return graph.dense(f"{scope}/proj", f"{weights}.proj", merged)


def _vit_feed_forward(graph: Any, layer: int, x: str) -> str:
    scope, weights = f"/blocks.{layer}/mlp", f"blocks.{layer}.mlp"
    normal = graph.layer_norm(f"/blocks.{layer}/norm2", f"blocks.{layer}.norm2", x, 1e-6)
    wide = minilm_builder().gelu(graph, f"{scope}/gelu", graph.dense(f"{scope}/fc1", f"{weights}.fc1", normal))
    return graph.dense(f"{scope}/fc2", f"{weights}.fc2", wide)


def _vit_weights() -> Weights:
    random, weights = RandomWeights(0), Weights()

    def dense(name: str, outputs: int, inputs: int) -> None:
        weights[f"{name}.weight"], weights[f"{name}.bias"] = random.dense(outputs, inputs), random.small(outputs)

    def norm(name: str) -> None:
        weights[f"{name}.weight"], weights[f"{name}.bias"] = random.near_one(VIT_HIDDEN), random.small(VIT_HIDDEN)

    weights["patch.weight"] = random.convolution(VIT_HIDDEN, 3, PATCH)
    weights["patch.bias"] = random.small(VIT_HIDDEN)
    weights["class_token"] = random.normal(1, 1, VIT_HIDDEN, deviation=1.0)
    weights["positions"] = random.small(1, (IMAGE // PATCH) ** 2 + 1, VIT_HIDDEN)
    for layer in range(VIT_LAYERS):
        scope = f"blocks.{layer}"
        norm(f"{scope}.norm1")
        dense(f"{scope}.attn.qkv", 3 * VIT_HIDDEN, VIT_HIDDEN)
        dense(f"{scope}.attn.proj", VIT_HIDDEN, VIT_HIDDEN)
        norm(f"{scope}.norm2")
        dense(f"{scope}.mlp.fc1", VIT_FEED_FORWARD, VIT_HIDDEN)
        dense(f"{scope}.mlp.fc2", VIT_HIDDEN, VIT_FEED_FORWARD)
    norm("norm")
    dense("head", CLASSES, VIT_HIDDEN)
    return weights


def _model(
    graph: Any, name: str, inputs: list[tuple[str, int, list[int]]], output: tuple[str, list[int]]
) -> onnx.ModelProto:
    proto = helper.make_graph(
        graph.nodes,
        name,
        [helper.make_tensor_value_info(*given) for given in inputs],
        [helper.make_tensor_value_info(output[0], TensorProto.FLOAT, output[1])],
        list(graph.initializers.values()),
    )
    return helper.make_model(proto, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
