"""MobileNetV2 (Sandler et al. 2018, table 2) with seeded random weights, batch norm folded as exporters fold it."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.zoo.random_weights import RandomWeights

# Expansion, output channels, repetitions and stride of the first, per stage.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
STEM, HEAD, CLASSES, IMAGE = 32, 1280, 1000, 224


class _Network:
    def __init__(self) -> None:
        self.random = RandomWeights(0)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def constant(self, name: str, array: object) -> str:
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def node(self, op_type: str, inputs: list[str], **attributes: object) -> str:
        name = f"/{op_type}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [f"{name}_output"], name=name, **attributes))
        return f"{name}_output"

    def convolution(
        self, x: str, inputs: int, outputs: int, size: int = 1, stride: int = 1, groups: int = 1, clip: bool = True
    ) -> str:
        scope = f"conv{len(self.nodes)}"
        kernel = self.constant(f"{scope}.weight", self.random.convolution(outputs, inputs // groups, size))
        bias = self.constant(f"{scope}.bias", self.random.small(outputs))
        y = self.node(
            "Conv",
            [x, kernel, bias],
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=[size // 2] * 4,
            group=groups,
        )
        return self.node("Clip", [y, "zero", "six"]) if clip else y

    def bottleneck(self, x: str, inputs: int, outputs: int, expansion: int, stride: int) -> str:
        wide = inputs * expansion
        y = self.convolution(x, inputs, wide) if expansion != 1 else x
        y = self.convolution(y, wide, wide, 3, stride, wide)
        y = self.convolution(y, wide, outputs, clip=False)
        return self.node("Add", [x, y]) if stride == 1 and inputs == outputs else y


def mobilenet_v2(batch: int) -> onnx.ModelProto:
    """Input: ``pixels``, float32 [batch, 3, 224, 224].  Output: ``logits``, float32 [batch, 1000]."""
    network = _Network()
    network.weights += [helper.make_tensor(n, TensorProto.FLOAT, [], [v]) for n, v in (("zero", 0.0), ("six", 6.0))]
    x, channels = network.convolution("pixels", 3, STEM, 3, 2), STEM
    for expansion, outputs, repetitions, first_stride in STAGES:
        for index in range(repetitions):
            x = network.bottleneck(x, channels, outputs, expansion, first_stride if index == 0 else 1)
            channels = outputs
    x = network.convolution(x, channels, HEAD)
    pooled = network.node("Flatten", [network.node("GlobalAveragePool", [x])], axis=1)
    weight = network.constant("classifier.weight", network.random.dense(CLASSES, HEAD))
    bias = network.constant("classifier.bias", network.random.small(CLASSES))
    network.nodes.append(helper.make_node("Gemm", [pooled, weight, bias], ["logits"], name="/Gemm", transB=1))
    graph = helper.make_graph(
        network.nodes,
        "mobilenet_v2",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [batch, 3, IMAGE, IMAGE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, CLASSES])],
        network.weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
