"""Scales and shifts by constants are merged, and end in the weights before them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.rewritten import assert_computes_the_same, canonical, model_of, ops_of

rng = np.random.default_rng(0)


def array(*shape: int) -> np.ndarray:
    return rng.uniform(0.5, 1.5, shape).astype("float32")


WEIGHTS = {
    "w": array(4, 3, 3, 3), "wt": array(3, 4, 3, 3), "grouped": array(6, 1, 3, 3), "v": array(4), "d": array(8, 5),
    "row": array(5), "square": array(8, 8), "eight": array(8), "per_channel": array(4, 1, 1),
    "per_channel2": array(1, 4, 1, 1), "shift": array(4, 1, 1), "pixel": array(1, 6, 6), "six": array(6, 1, 1),
    "scalar": np.float32(0.125), "scale": array(4), "bias": array(4), "mean": array(4), "var": array(4),
    "heads": np.array([2, 3, 2, 4]), "one": np.ones((4, 1, 1), "float32"), "nothing": np.float32(0),
}  # fmt: skip
IMAGE, RESULT = "float[2,3,8,8] x", "float[2,4,6,6] y"
CONV = "c = Conv(x, w) "
BODIES = {
    "scale": (IMAGE, RESULT, CONV + "y = Mul(c, per_channel)", {"nn.conv2d": 1}),
    "bias, scale, shift": (
        IMAGE, RESULT, "c = Conv(x, w, v) s = Mul(per_channel, c) y = Add(s, shift)", {"nn.conv2d": 1, "add": 1}
    ),
    "batch norm, then scale and shift": (
        IMAGE, RESULT, "c = Conv(x, w, v) b = BatchNormalization(c, scale, bias, mean, var) s = Mul(b, per_channel2) "
        "y = Sub(s, shift)", {"nn.conv2d": 1, "add": 1},
    ),
    "transposed convolution": (
        IMAGE, "float[2,4,10,10] y", "c = ConvTranspose(x, wt) "
        "b = BatchNormalization(c, scale, bias, mean, var) y = Relu(b)",
        {"nn.conv2d_transpose": 1, "add": 1, "nn.relu": 1},
    ),
    "depthwise": (
        "float[2,6,8,8] x", "float[2,6,6,6] y", "c = Conv<group=6>(x, grouped) y = Div(c, six)", {"nn.conv2d": 1}
    ),
    "chain without weights": (
        "float[2,4,6,6] x", RESULT, "b = BatchNormalization(x, scale, bias, mean, var) s = Mul(b, per_channel) "
        "y = Add(s, shift)", {"multiply": 1, "add": 1},
    ),
    "constant minus": (
        "float[2,4,6,6] x", RESULT, "a = Mul(x, scalar) y = Sub(shift, a)", {"multiply": 1, "subtract": 1}
    ),
    "twice from a constant": ("float[2,4,6,6] x", RESULT, "a = Sub(shift, x) y = Sub(per_channel, a)", {"add": 1}),
    "nothing changes": ("float[2,4,6,6] x", RESULT, "a = Mul(x, one) b = Add(a, nothing) y = Relu(b)", {"nn.relu": 1}),
    "product": (
        "float[2,8] x", "float[2,5] y", "p = MatMul(x, d) b = Add(p, row) y = Mul(b, row)", {"matmul": 1, "add": 1}
    ),
    "a scale of scores ends in the weights of the query": (
        "float[2,3,8] x, float[2,2,4,3] k", "float[2,2,3,3] y",
        "p = MatMul(x, square) b = Add(p, eight) r = Reshape(b, heads) q = Transpose<perm=[0,2,1,3]>(r) "
        "s = MatMul(q, k) y = Mul(s, scalar)", {"matmul": 2, "add": 1, "reshape": 1, "permute_dims": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("inputs", "outputs", "body", "ops"), BODIES.values(), ids=BODIES)
def test_what_a_chain_becomes(inputs: str, outputs: str, body: str, ops: dict[str, int]) -> None:
    used = {
        name: value
        for name, value in WEIGHTS.items()
        if name in body.replace("(", " ").replace(")", " ").replace(",", " ").split()
    }
    model = model_of(inputs, outputs, body, used)
    assert ops_of(model) == ops
    assert_computes_the_same(model)


KEPT = {
    "the convolution is an output too": (IMAGE, f"{RESULT}, float[2,4,6,6] c", CONV + "y = Mul(c, per_channel)"),
    "another reader": (IMAGE, RESULT, CONV + "m = Mul(c, per_channel) y = Add(m, c)"),
    "a factor for each pixel": (IMAGE, RESULT, CONV + "y = Mul(c, pixel)"),
    "a division by zero": (IMAGE, RESULT, CONV + "y = Div(c, nothing)"),
}


@pytest.mark.parametrize(("inputs", "outputs", "body"), KEPT.values(), ids=KEPT)
def test_weights_stay_as_they_are_where(inputs: str, outputs: str, body: str) -> None:
    used = {name: WEIGHTS[name] for name in ("w", "per_channel", "pixel", "nothing") if name in body}
    nodes = canonical(model_of(inputs, outputs, body, used)).nodes
    (conv,) = [node for node in nodes if node.op == "nn.conv2d"]
    np.testing.assert_array_equal(conv.inputs[1].constant, WEIGHTS["w"])
    assert {"multiply", "divide"} & {node.op for node in nodes}


def test_the_merged_op_stands_for_all_nodes_of_the_chain() -> None:
    body = (
        "c = Conv(x, w, v) b = BatchNormalization(c, scale, bias, mean, var) s = Mul(b, per_channel) y = Add(s, shift)"
    )
    used = {name: WEIGHTS[name] for name in ("w", "v", "scale", "bias", "mean", "var", "per_channel", "shift")}
    conv, add = canonical(model_of(IMAGE, RESULT, body, used)).nodes
    assert (conv.op_type, add.op_type) == ("Conv", "Add")
    assert {"BatchNormalization", "Mul", "Conv"} <= {op_type for _, op_type in add.absorbed}
