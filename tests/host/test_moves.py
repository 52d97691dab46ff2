"""Transposes and reshapes are joined, moved to where they cost nothing, and removed."""

from __future__ import annotations

import numpy as np
import pytest

from tests.rewritten import assert_computes_the_same, canonical, model_of, ops_of

rng = np.random.default_rng(0)
WEIGHTS = {
    "bias": rng.standard_normal(5).astype("float32"), "row": rng.standard_normal((4, 5)).astype("float32"),
    "w": rng.standard_normal((6, 3, 1, 1)).astype("float32"), "flat": np.array([2, 60]), "back": np.array([2, 3, 4, 5]),
    "pair": np.array([6, 20]), "axes": np.array([0]), "channels": rng.standard_normal(3).astype("float32"),
}  # fmt: skip
X = "float[2,3,4,5] x"
TO_NHWC, TO_NCHW = "Transpose<perm=[0,2,3,1]>", "Transpose<perm=[0,3,1,2]>"
CASES = {
    "a pair": (f"t = {TO_NHWC}(x) u = {TO_NCHW}(t) y = Relu(u)", "float[2,3,4,5] y", ["nn.relu"]),
    "two in a row": (
        f"t = {TO_NHWC}(x) y = Transpose<perm=[3,2,1,0]>(t)", "float[3,5,4,2] y", ["permute_dims"]
    ),
    "a pair around element-wise ops": (
        f"t = {TO_NHWC}(x) r = Relu(t) s = Sigmoid(r) u = {TO_NCHW}(s) y = Neg(u)", "float[2,3,4,5] y",
        ["nn.relu", "sigmoid", "negative"],
    ),
    "constants are transposed along": (
        f"t = {TO_NHWC}(x) a = Mul(t, channels) y = {TO_NCHW}(a)", "float[2,3,4,5] y", ["multiply"]
    ),
    "two operands transposed alike": (
        f"r = Relu(x) t = {TO_NHWC}(x) u = {TO_NHWC}(r) y = Add(t, u)", "float[2,4,5,3] y",
        ["nn.relu", "add", "permute_dims"],
    ),
    "two operands transposed differently": (
        "t = Transpose<perm=[1,0,2,3]>(square) u = Transpose<perm=[0,1,3,2]>(square) y = Add(t, u)",
        "float[3,3,3,3] y", ["permute_dims", "permute_dims", "add"],
    ),
    "a convolution of an NHWC model": (
        f"c = Conv(x, w) t = {TO_NHWC}(c) r = Relu(t) u = {TO_NCHW}(r) y = Sigmoid(u)", "float[2,6,4,5] y",
        ["nn.conv2d", "nn.relu", "sigmoid"],
    ),
    "the mean over height and width": (
        f"t = {TO_NHWC}(x) y = ReduceMean<axes=[1,2], keepdims=0>(t)", "float[2,3] y", ["mean"]
    ),
    "the mean over channels": (
        f"t = {TO_NHWC}(x) m = ReduceMean<axes=[3], keepdims=1>(t) y = {TO_NCHW}(m)", "float[2,1,4,5] y", ["mean"]
    ),
    "axes of extent one": (
        "m = ReduceMean<axes=[2,3], keepdims=1>(x) t = Transpose<perm=[0,2,3,1]>(m) y = Flatten(t)", "float[2,3] y",
        ["mean", "reshape"],
    ),
    "reshapes in a row": ("f = Reshape(x, flat) y = Reshape(f, pair)", "float[6,20] y", ["reshape"]),
    "reshapes there and back": (
        "f = Reshape(x, flat) b = Reshape(f, back) y = Relu(b)", "float[2,3,4,5] y", ["nn.relu"]
    ),
    "an axis added and taken away": (
        "a = Unsqueeze(x, axes) s = Squeeze(a, axes) y = Relu(s)", "float[2,3,4,5] y", ["nn.relu"]
    ),
    "a reshape that changes nothing": ("r = Reshape(x, back) y = Relu(r)", "float[2,3,4,5] y", ["nn.relu"]),
}  # fmt: skip


@pytest.mark.parametrize(("body", "output", "ops"), CASES.values(), ids=CASES)
def test_what_remains(body: str, output: str, ops: list[str]) -> None:
    inputs = "float[3,3,3,3] square" if "square" in body else X
    used = {name: value for name, value in WEIGHTS.items() if f", {name})" in body}
    model = model_of(inputs, output, body, used)
    assert [node.op for node in canonical(model).nodes] == ops
    assert_computes_the_same(model)


def test_a_transpose_that_is_an_output_too_stays() -> None:
    model = model_of(X, "float[2,4,5,3] t, float[2,4,5,3] y", f"t = {TO_NHWC}(x) y = Relu(t)")
    assert ops_of(model) == {"permute_dims": 1, "nn.relu": 1}
    assert_computes_the_same(model)


def test_symbolic_reshapes_merge_and_vanish() -> None:
    body = "a = Unsqueeze(x, axes) s = Squeeze(a, axes) y = Relu(s)"
    model = model_of("float[N,3] x", "float[N,3] y", body, {"axes": WEIGHTS["axes"]})
    assert ops_of(model) == {"nn.relu": 1}


def test_what_moves_keeps_its_origin() -> None:
    relu, transpose = canonical(model_of(X, "float[2,4,5,3] y", f"t = {TO_NHWC}(x) y = Relu(t)")).nodes
    assert (relu.op, relu.op_type) == ("nn.relu", "Relu")
    assert transpose.op == "permute_dims"
