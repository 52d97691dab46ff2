"""Shape idioms of real exporters, with symbolic dimensions, give what ONNX Runtime gives."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.imported import assert_same, make_model, node, run_on_host

X = {"x": ("float32", ["B", "S", 8])}
RNG = np.random.default_rng(0)


def i64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


IDIOMS: dict[str, tuple[list[onnx.NodeProto], dict[str, np.ndarray]]] = {
    "reshape to a product of extents": (
        [
            node("Shape", "x", "s"), node("Gather", "s i0", "b"), node("Gather", "s i1", "q"), node("Mul", "b q", "bq"),
            node("Unsqueeze", "bq a0", "u"), node("Concat", "u c8", "c", axis=0), node("Reshape", "x c"),
        ],
        {"i0": np.array(0), "i1": np.array(1), "a0": i64(0), "c8": i64(8)},
    ),
    "positions by Range over an extent": (
        [
            node("Shape", "x", "s"), node("Gather", "s i1", "q"), node("Range", "zero q one", "r"),
            node("Cast", "r", "f", to=TensorProto.FLOAT), node("Unsqueeze", "f a1", "u"), node("Add", "x u"),
        ],
        {"i1": np.array(1), "zero": np.array(0), "one": np.array(1), "a1": i64(1)},
    ),
    "slice to the last but one, computed": (
        [node("Shape", "x", "s"), node("Gather", "s i1", "q"), node("Sub", "q one", "e"),
        node("Slice", "x zero e axis")],
        {"i1": i64(1), "one": i64(1), "zero": i64(0), "axis": i64(1)},
    ),
    "padding to a multiple of four": (
        [
            node("Shape", "x", "s"), node("Slice", "s one two", "q"), node("Neg", "q", "n"), node("Mod", "n four", "m"),
            node("Concat", "zeros m zero", "p", axis=0), node("Pad", "x p fill"),
        ],
        {
            "one": i64(1), "two": i64(2), "four": i64(4), "zero": i64(0), "zeros": i64(0, 0, 0, 0),
            "fill": np.array(2.5, np.float32),
        },
    ),
    "causal mask from ConstantOfShape and Trilu": (
        [
            node("Shape", "x", "s"), node("Gather", "s i1", "q"), node("Concat", "q q", "c", axis=0),
            node("ConstantOfShape", "c", "m", value=onnx.numpy_helper.from_array(np.array([-1e4], np.float32))),
            node("Trilu", "m k", "t", upper=1), node("Transpose", "x", "xt", perm=[0, 2, 1]),
            node("MatMul", "x xt", "a"),
            node("Add", "a t"),
        ],
        {"i1": i64(1), "k": np.array(1)},
    ),
    "causal mask from two Ranges": (
        [
            node("Shape", "x", "s"), node("Gather", "s i1", "q"), node("Range", "zero q one", "r"),
            node("Unsqueeze", "r a0", "row"), node("Unsqueeze", "r a1", "column"),
            node("LessOrEqual", "row column", "m"),
            node("Transpose", "x", "xt", perm=[0, 2, 1]), node("MatMul", "x xt", "a"), node("Where", "m a low"),
        ],
        {
            "i1": np.array(1), "zero": np.array(0), "one": np.array(1), "a0": i64(0), "a1": i64(1),
            "low": np.array(-1e4, np.float32),
        },
    ),
    "expand by a shape": ([node("Shape", "x", "s"), node("Expand", "b s", "e"),
    node("Add", "x e")], {"b": np.arange(8, dtype=np.float32)}),
    "expand by Where over Equal, as PyTorch writes it": (
        [
            node("Shape", "x", "s"), node("Gather", "s i0", "b"), node("Concat", "b minus tail", "c", axis=0),
            node("Equal", "c minus", "e"), node("Where", "e ones c", "w"), node("Expand", "v w", "g"),
            node("Add", "x g"),
        ],
        {"i0": i64(0), "minus": i64(-1), "tail": i64(8), "ones": i64(1, 1, 1), 
         "v": np.arange(8, dtype=np.float32).reshape(1, 1, 8)},
    ),
    "zeros of a computed shape": (
        [node("Shape", "x", "s"), node("ConstantOfShape", "s", "z"), node("Add", "x z")],
        {},
    ),
    "split in halves and turn, as rotary embeddings do": (
        [
            node("Shape", "x", "s", start=-1), node("Div", "s two", "h"), node("Slice", "x zero h axis", "a"),
            node("Slice", "x h end axis", "b"), node("Neg", "b", "n"), node("Concat", "n a", axis=-1),
        ],
        {"two": i64(2), "zero": i64(0), "end": i64(2**63 - 1), "axis": i64(-1)},
    ),
    "the last position": (
        [node("Slice", "x last end axis", "l"), node("Squeeze", "l axis")],
        {"last": i64(-1), "end": i64(2**63 - 1), "axis": i64(1)},
    ),
    "backwards": (
        [node("Slice", "x last end axis step")],
        {"last": i64(-1), "end": i64(-(2**63)), "axis": i64(1), "step": i64(-1)},
    ),
    "every other": (
        [node("Slice", "x one end axis two")],
        {"one": i64(1), "end": i64(2**63 - 1), "axis": i64(1), "two": i64(2)},
    ),
    "flatten": ([node("Flatten", "x", axis=1)], {}),
    "softmax of an old opset": ([node("Softmax", "x", axis=1)], {}),
    "indices of what is positive": (
        [node("Greater", "x zero", "g"), node("NonZero", "g", "n"), node("Transpose", "n", "t"),
        node("Cast", "t", to=TensorProto.FLOAT)],
        {"zero": np.array(0, np.float32)},
    ),
    "nearest resize by two": (
        [node("Unsqueeze", "x a0", "u"),
        node("Resize", "u _ k", "r", mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        node("Squeeze", "r a0")],
        {"a0": i64(0), "k": np.array([1, 1, 2, 2], np.float32)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("idiom", IDIOMS)
def test_a_shape_idiom_gives_the_same_for_several_sizes(idiom: str) -> None:
    nodes, weights = IDIOMS[idiom]
    model = make_model(nodes, X, weights=weights, opset=11 if "old opset" in idiom else 17)
    for size in ((2, 5, 8), (1, 1, 8)):
        assert_same(model, {"x": RNG.standard_normal(size).astype(np.float32)})


def test_a_range_with_a_limit_known_only_at_run_time() -> None:
    nodes = [node("ReduceMax", "n", "m", keepdims=0), node("Range", "zero m one")]
    model = make_model(nodes, {"n": ("int64", [3])}, weights={"zero": np.array(0), "one": np.array(2)})
    assert run_on_host(model, {"n": i64(3, 7, 5)})[0].tolist() == [0, 2, 4, 6]


@pytest.mark.parametrize("upper", [0, 1])
def test_a_triangle_whose_diagonal_is_known_only_at_run_time(upper: int) -> None:
    model = make_model([node("Trilu", "x k", upper=upper)], {"x": ("float32", [3, 4]), "k": ("int64", [])})
    for diagonal in (-1, 0, 2):
        assert_same(model, {"x": RNG.standard_normal((3, 4)).astype(np.float32), "k": np.array(diagonal)})


def test_a_slice_with_bounds_known_only_at_run_time() -> None:
    model = make_model([node("Slice", "x a b")], {"x": ("float32", [6]), "a": ("int64", [1]), "b": ("int64", [1])})
    assert_same(model, {"x": np.arange(6, dtype=np.float32), "a": i64(-4), "b": i64(5)})


def test_a_reshape_to_a_shape_known_only_at_run_time() -> None:
    model = make_model([node("Reshape", "x s")], {"x": ("float32", [6]), "s": ("int64", [2])})
    assert_same(model, {"x": np.arange(6, dtype=np.float32), "s": i64(3, 2)})


def test_a_choice_made_at_run_time() -> None:
    def branch(op: str) -> onnx.GraphProto:
        return helper.make_graph(
            [node(op, "x", op), node("Add", f"{op} x", f"{op}2")], op, [], [onnx.ValueInfoProto(name=f"{op}2")]
        )

    choice = helper.make_node("If", ["c"], ["y"], then_branch=branch("Exp"), else_branch=branch("Neg"))
    nodes = [node("ReduceSum", "x", "s", keepdims=0), node("Greater", "s zero", "c"), choice]
    model = make_model(nodes, X, weights={"zero": np.array(0, np.float32)})
    for sign in (1, -1):
        assert_same(model, {"x": np.full((2, 3, 8), sign, np.float32)})
