"""Activations, biases and additions that follow a matrix product or a convolution in the same kernel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from byoc_codegens.csource.c_text import c_helper, literal

from byoc import Match, Value, const, op

# C expression of each activation of `x`; `low` is the slope of a leaky ReLU.
_EXPRESSIONS = {
    "LEAKY_RELU": "x > 0.0f ? x : x * low",
    "SIGMOID": "csource_sigmoidf(x)",
    "TANH": "csource_tanhf(x)",
    "SILU": "x * csource_sigmoidf(x)",
    "HARD_SWISH": "x * ((x + 3.0f < 0.0f ? 0.0f : x + 3.0f > 6.0f ? 6.0f : x + 3.0f) / 6.0f)",
    "GELU": "0.5f * x * (1.0f + csource_erff(x * 0.707106781f))",
    "GELU_TANH": "0.5f * x * (1.0f + csource_tanhf(0.797884561f * (x + 0.044715f * x * x * x)))",
}
_BY_OP = {
    "nn.relu": "CLIP",
    "clip": "CLIP",
    "nn.leakyrelu": "LEAKY_RELU",
    "sigmoid": "SIGMOID",
    "tanh": "TANH",
    "nn.silu": "SILU",
    "nn.gelu": "GELU",
    "nn.gelu_tanh": "GELU_TANH",
}


@dataclass(frozen=True)
class Epilogue:
    """What follows the product: in this order bias, residual, activation.

    Attributes
    ----------
    bias, residual: values to add, or ``None``.
    activation: name in C without its prefix.
    low, high: limits of a clip; slope of a leaky ReLU in `low`.
    """

    addends: tuple[Value, ...] = field(default=())
    activation: str = "NONE"
    low: float = 0.0
    high: float = 0.0


def add_epilogue(m: Match) -> None:
    """Add the epilogue's C code to the source of a match."""
    m.helper(c_helper("math"))
    names = ["NONE", "CLIP", *_EXPRESSIONS]
    cases = "\n".join(f"    case CSOURCE_{n}: CSOURCE_EACH_LANE({e});" for n, e in _EXPRESSIONS.items())
    m.helper(c_helper("epilogue", activations=", ".join(f"CSOURCE_{n}" for n in names), cases=cases))


def epilogue_literal(
    epilogue: Epilogue, row_bias: str = "NULL", column_bias: str = "NULL", residual: str = "NULL"
) -> str:
    """The C initialiser of a ``CsourceEpilogue``."""
    fields = [
        f".{k} = {v}"
        for k, v in (("row_bias", row_bias), ("column_bias", column_bias), ("residual", residual))
        if v != "NULL"
    ]
    fields.append(f".activation = CSOURCE_{epilogue.activation}")
    if epilogue.activation in ("CLIP", "LEAKY_RELU"):
        fields += [f".low = {literal(epilogue.low, 'float32')}", f".high = {literal(epilogue.high, 'float32')}"]
    return "{" + ", ".join(fields) + "}"


def fused(name: str, anchor: Any) -> dict[str, Any]:
    """Patterns of an op with what may follow it, the longest first."""
    one = op("add")(anchor, "addend")
    two = op("add")(one, "second")
    return {
        f"{name}_add_add_activation": _activated(two),
        f"{name}_add_activation": _activated(one),
        f"{name}_activation": _activated(anchor),
        f"{name}_add_add": two,
        f"{name}_add": one,
        name: anchor,
    }


def _activated(x: Any) -> Any:
    """Every way of writing an activation of `x`, the compound ones first."""
    x = x.named("before_activation")
    shifted = op("clip")(op("add")(x, const("three")))
    ratio = op("divide")(x, const("root2")) | op("multiply")(x, const("root2"))
    bell = op("add")(op("erf")(ratio), const("one"))
    patterns = [
        op("multiply")(x, op("sigmoid")(x)),
        op("multiply")(x, op("divide")(shifted, const("six"))),
        op("divide")(op("multiply")(x, shifted), const("six")),
        op("multiply")(op("multiply")(x, bell), const("half")),
        op("multiply")(op("multiply")(x, const("half")), bell),
        op("multiply")(x, op("multiply")(bell, const("half"))),
        *(op(name)(x) for name in _BY_OP),
    ]
    result = patterns[0]
    for pattern in patterns[1:]:
        result = result | pattern
    return result


def parse_epilogue(m: Match, anchor: Value) -> Epilogue | str:
    """What follows `anchor` in a match, or why it cannot be fused."""
    value, activation, low, high = m.out, "NONE", 0.0, 0.0
    if "before_activation" in m:
        value = m["before_activation"]
        kind = _compound(m) if m.root.op in ("multiply", "divide") else _BY_OP[m.root.op]
        if not kind:
            return "the constants are not those of a known activation"
        activation = kind
        if m.root.op == "nn.leakyrelu":
            low = float(m.root.attrs["alpha"])
        elif kind == "CLIP":
            limits = (0.0, math.inf) if m.root.op == "nn.relu" else (m.root.attrs["min"], m.root.attrs["max"])
            if not all(isinstance(x, (int, float)) for x in limits):
                return "the limits of clip are not known"
            low, high = (float(x) for x in limits)
    addends = []
    while value is not anchor:
        assert value.producer is not None
        left, right = value.producer.inputs
        inside = {id(n) for n in m.nodes}
        on_left = left.producer is not None and id(left.producer) in inside and _leads_to(left, anchor)
        value, addend = (left, right) if on_left else (right, left)
        addends.append(addend)
    return Epilogue(tuple(reversed(addends)), activation, low, high)


def _leads_to(value: Value, anchor: Value) -> bool:
    if value is anchor:
        return True
    return value.op == "add" and value.producer is not None and any(_leads_to(v, anchor) for v in value.producer.inputs)


def _compound(m: Match) -> str:
    """Which activation a chain of simple ops spells, judged by its constants; ``""`` for none."""
    if "half" in m:
        scale = _scalar(m["root2"])
        for node in m.nodes:
            if node.op == "erf" and node.inputs[0].op == "multiply":
                scale = 1 / scale if scale else math.nan
        right = _is(m["half"], 0.5) and _is(m["one"], 1.0) and abs(scale - math.sqrt(2)) < 1e-3
        return "GELU" if right else ""
    if "three" in m:
        clip = next(n for n in m.nodes if n.op == "clip")
        limits = (clip.attrs["min"], clip.attrs["max"])
        return "HARD_SWISH" if _is(m["three"], 3.0) and _is(m["six"], 6.0) and limits == (0, 6) else ""
    return "SILU"


def _scalar(value: Value) -> float:
    array = value.constant
    return float(array.reshape(())) if array is not None and array.size == 1 else math.nan


def _is(value: Value, number: float) -> bool:
    return _scalar(value) == number


def same_shape(a: Sequence[Any] | None, b: Sequence[Any] | None) -> bool:
    """Whether two shapes are known to be equal."""
    return a is not None and b is not None and len(a) == len(b) and all(x == y for x, y in zip(a, b, strict=True))


def along_axis(value: Value, shape: Sequence[Any], axis: int) -> bool:
    """Whether `value` is broadcast to `shape` as one number for each index of `axis` (or one number for all)."""
    if value.shape is None or len(value.shape) > len(shape):
        return False
    dims = (1,) * (len(shape) - len(value.shape)) + tuple(value.shape)
    others = all(isinstance(d, int) and d == 1 for i, d in enumerate(dims) if i != axis)
    return others and (dims[axis] == shape[axis] or (value.is_constant and dims[axis] == 1))


def expanded(value: Value, size: int) -> np.ndarray:
    """A constant bias as `size` floats."""
    array = value.constant
    assert array is not None
    return np.ascontiguousarray(np.broadcast_to(array.astype("float32").reshape(-1), (size,)))
