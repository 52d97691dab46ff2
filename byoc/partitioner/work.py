"""How much work an op is: floating-point operations, and bytes to and from memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from byoc.graph import Node, Value, item_bytes

FREE = frozenset({"reshape", "squeeze", "expand_dims", "flatten", "shape_of", "tensor_to_shape", "shape_to_tensor"})
_NO_FLOPS = FREE | {
    "permute_dims", "concat", "split", "take", "strided_slice", "dynamic_strided_slice", "broadcast_to", "nn.pad",
    "tile", "repeat", "flip", "full", "zeros", "ones", "full_like", "zeros_like", "ones_like", "arange", "astype",
    "gather_elements", "gather_nd", "scatter_elements", "scatter_nd", "one_hot", "where", "nn.dropout", "stack",
}  # fmt: skip
_TRANSCENDENTAL = frozenset({
    "exp", "log", "erf", "tanh", "sigmoid", "sin", "cos", "power", "nn.gelu", "nn.gelu_tanh", "nn.silu", "rsqrt",
    "byoc.rope", "byoc.swiglu",
})  # fmt: skip
_PACKED_PRODUCTS = frozenset({"byoc.linear_w4", "byoc.linear_w8", "byoc.linear_w16"})
_PER_ELEMENT = {"nn.softmax": 10, "nn.log_softmax": 10, "nn.layer_norm": 8, "nn.batch_norm": 4, "nn.rms_norm": 6,
                "nn.instance_norm": 8, "nn.group_norm": 8, "image.resize2d": 8}  # fmt: skip

_ROWS = frozenset({"nn.softmax", "nn.log_softmax", "sum", "mean", "max", "min", "prod", "variance", "argmax", "argmin"})

FAMILIES = (
    "convolution 3x3", "convolution 1x1", "convolution", "depthwise", "product", "pooling", "rows", "elementary",
    "arithmetic", "movement", "integer convolution", "integer depthwise", "integer product",
    "packed product", "cached attention",
)  # fmt: skip
"""Families of ops that a target does at a rate of its own.  ``convolution 3x3`` has neither stride nor dilation;
``rows`` are softmax, normalisations and reductions; ``elementary`` functions are exp, erf and their like; ``integer``
are the 8-bit ones, whose multiply-adds count two operations as well; a
``packed product`` has weights that it unpacks on the way; ``cached attention`` reads what ``byoc.kv_append`` wrote."""


def family_of(node: Node) -> str:
    """The one of :data:`FAMILIES` that an op belongs to."""
    if node.op in _NO_FLOPS or node.op.startswith("("):
        return "movement"
    if node.op.startswith("nn.conv"):
        return _convolution_family(node)
    if node.op == "byoc.qlinear_conv":
        return "integer depthwise" if _convolution_family(node) == "depthwise" else "integer convolution"
    if node.op in ("byoc.qlinear_matmul", "byoc.matmul_integer"):
        return "integer product"
    if node.op in ("matmul", "nn.linear") or node.op.startswith("nn.attention"):
        return "product"
    if node.op in _PACKED_PRODUCTS:
        return "packed product"
    if node.op == "byoc.kv_attention":
        return "cached attention"
    if "pool" in node.op:
        return "pooling"
    if node.op in _ROWS or node.op.endswith("_norm"):
        return "rows"
    return "elementary" if node.op in _TRANSCENDENTAL else "arithmetic"


def _convolution_family(node: Node) -> str:
    weight = node.inputs[1].shape if len(node.inputs) > 1 else None
    if weight is None or "transpose" in node.op:
        return "convolution"
    if int(node.attrs.get("groups", 1)) > 1 and weight[1] == 1:
        return "depthwise"
    plain = all(v == 1 for name in ("strides", "dilation") for v in node.attrs.get(name, ()))
    taps = tuple(weight[2:])
    if all(t == 1 for t in taps):
        return "convolution 1x1"
    return "convolution 3x3" if plain and taps == (3, 3) and node.attrs.get("groups", 1) == 1 else "convolution"


def dims(value: Value, nominal: int) -> list[int]:
    """The shape with symbolic dimensions counted as `nominal`."""
    return [d if isinstance(d, int) else _evaluate(d, nominal) for d in value.shape or ()]


def _evaluate(dim: Any, nominal: int) -> int:
    try:
        return max(0, dim.evaluate(dict.fromkeys(dim.variables(), nominal)))
    except (ArithmeticError, ValueError, NameError):
        return nominal


def elements(value: Value, nominal: int) -> int:
    """Number of elements."""
    return math.prod(dims(value, nominal))


def value_bytes(value: Value, nominal: int) -> int:
    """Bytes that the tensor takes."""
    return math.ceil(elements(value, nominal) * item_bytes(value.dtype)) if value.dtype else 0


def flops_of(node: Node, nominal: int) -> int:
    """Floating-point operations of one op; a multiply-add counts two."""
    if node.op in _NO_FLOPS or node.op.startswith("("):
        return 0
    out = sum(elements(v, nominal) for v in node.outputs)
    shapes = [dims(v, nominal) for v in node.inputs]
    if node.op in ("matmul", "nn.linear", "byoc.qlinear_matmul", "byoc.matmul_integer") or node.op in _PACKED_PRODUCTS:
        return 2 * out * (shapes[0][-1] if shapes[0] else 1)
    if node.op.startswith("nn.conv") or node.op == "byoc.qlinear_conv":
        return _convolution_flops(node, out, shapes)
    if node.op.startswith("nn.attention"):
        batch, queries, heads, head_dim = (shapes[0] + [1, 1, 1, 1])[:4]
        return 4 * batch * heads * queries * (shapes[1][1] if len(shapes[1]) > 1 else 1) * head_dim
    if node.op == "byoc.kv_append":
        return math.prod(shapes[1])
    if node.op == "byoc.kv_attention":
        return 4 * out * _seen_tokens(node)
    if "pool" in node.op:
        window = node.attrs.get("pool_size")
        if isinstance(window, tuple):
            return out * math.prod(int(k) for k in window)
        return sum(math.prod(s) for s in shapes)
    if node.op in _PER_ELEMENT:
        return out * _PER_ELEMENT[node.op]
    if node.op in _TRANSCENDENTAL:
        return out * 8
    return max(out, *(math.prod(s) for s in shapes)) if shapes else out


def _convolution_flops(node: Node, out: int, shapes: Sequence[list[int]]) -> int:
    weight = math.prod(shapes[1])
    if "transpose" in node.op:
        inputs = math.prod(shapes[0])
        layout = str(node.attrs.get("kernel_layout", "IOHW"))
        channels = shapes[1][layout.find("I")] if "I" in layout else 1
        return 2 * inputs * weight // max(channels, 1)
    layout = str(node.attrs.get("kernel_layout", "OIHW"))
    channels = shapes[1][layout.find("O")] if "O" in layout else 1
    return 2 * out * weight // max(channels, 1)


def _seen_tokens(node: Node) -> int:
    """Cached tokens that a query meets once the context is full."""
    capacity, window = int(node.attrs["k_capacity"]), int(node.attrs["window"])
    return min(capacity, window) if window else capacity


def bytes_of(node: Node, nominal: int) -> int:
    """Bytes read and written by one op; a cache that grows in place is not copied, nor a table that is looked up in."""
    if node.op in FREE:
        return 0
    if node.op == "byoc.kv_append":
        return 2 * value_bytes(node.inputs[1], nominal)
    if node.op == "take":
        return value_bytes(node.inputs[1], nominal) + 2 * value_bytes(node.outputs[0], nominal)
    seen = {id(v): v for v in node.inputs}
    return sum(value_bytes(v, nominal) for v in (*seen.values(), *node.outputs))
