"""What is known at import is worked out there; what is not keeps its symbols."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import tvm
from onnx import TensorProto, helper, numpy_helper
from tvm import relax

from byoc.importer import import_model
from byoc.tensor_spec import TensorSpec

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def node(op: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), [output], **attributes)


def model(
    nodes: list[onnx.NodeProto],
    shape: tuple[object, ...] = ("B", "S", 8),
    weights: dict[str, np.ndarray] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def ops(module: tvm.IRModule) -> list[str]:
    bindings = [binding for block in module["main"].body.blocks for binding in block.bindings]
    return [
        binding.value.op.name.removeprefix("relax.") for binding in bindings if isinstance(binding.value, relax.Call)
    ]


def i64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


SPLIT_HEADS = [
    node("Shape", "x", "s"),
    node("Gather", "s zero", "batch"),
    node("Gather", "s one", "length"),
    node("Unsqueeze", "batch axis", "batch1"),
    node("Unsqueeze", "length axis", "length1"),
    node("Concat", "batch1 length1 heads", "target", axis=0),
    node("Reshape", "x target", "y"),
]
INDICES = {"zero": np.array(0), "one": np.array(1), "axis": i64(0), "heads": i64(2, 4)}


def test_the_shape_subgraph_of_a_reshape_disappears_and_symbols_stay() -> None:
    imported = import_model(model(SPLIT_HEADS, weights=INDICES))
    assert ops(imported.module) == ["reshape"]
    assert imported.outputs == (TensorSpec("y", "float32", ("B", "S", 2, 4)),)


def test_given_sizes_take_the_place_of_symbols() -> None:
    imported = import_model(
        model(SPLIT_HEADS, weights=INDICES), shapes={"x": [3, "length", None]} | {"x": [3, "length", 8]}
    )
    assert imported.inputs == (TensorSpec("x", "float32", (3, "length", 8)),)
    assert imported.outputs[0].shape == (3, "length", 2, 4)


def test_a_dimension_without_a_name_gets_one() -> None:
    imported = import_model(model([node("Relu", "x", "y")], shape=(None, 8)))
    assert imported.inputs[0].shape == ("x_dim0", 8)


@pytest.mark.parametrize("dims", [("past + new",), ("past+new",)])
def test_a_dimension_may_be_a_sum_of_others(dims: tuple[str]) -> None:
    graph = helper.make_graph(
        [helper.make_node("Concat", ["a", "b"], ["c"], axis=0), helper.make_node("Add", ["c", "m"], ["y"])],
        "g",
        [
            helper.make_tensor_value_info("a", FLOAT, ["past"]),
            helper.make_tensor_value_info("b", FLOAT, ["new"]),
            helper.make_tensor_value_info("m", FLOAT, list(dims)),
        ],
        [helper.make_tensor_value_info("y", FLOAT, None)],
    )
    imported = import_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    assert [spec.shape for spec in imported.inputs] == [("past",), ("new",), ("past + new",)]
    assert imported.outputs[0].shape == ("past + new",)


def test_dimensions_that_the_graph_makes_equal_become_one() -> None:
    graph = helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["y"])],
        "g",
        [helper.make_tensor_value_info(name, FLOAT, [f"{name}_n"]) for name in "ab"],
        [helper.make_tensor_value_info("y", FLOAT, None)],
    )
    imported = import_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    assert [spec.shape for spec in (*imported.inputs, *imported.outputs)] == [("a_n",)] * 3


@pytest.mark.parametrize(
    ("form", "value", "dtype"),
    [
        ("value_int", 2, "int64"),
        ("value_ints", [2, 3], "int64"),
        ("value_float", 1.5, "float32"),
        ("value_floats", [1.5, 2.5], "float32"),
        ("value", numpy_helper.from_array(np.array([1, 2], np.int32)), "int32"),
    ],
)
def test_every_form_of_constant_is_taken(form: str, value: object, dtype: str) -> None:
    imported = import_model(model([helper.make_node("Constant", [], ["y"], **{form: value})]))
    assert imported.outputs[0].dtype == dtype


def test_a_slice_of_an_old_opset_is_taken() -> None:
    old = import_model(model([helper.make_node("Slice", ["x"], ["y"], starts=[2], ends=[-1], axes=[2])], opset=9))
    assert old.outputs[0].shape == ("B", "S", 5)


def test_a_slice_to_the_last_but_one_has_one_less() -> None:
    nodes = [node("Slice", "x start end axis", "y")]
    imported = import_model(model(nodes, weights={"start": i64(0), "end": i64(-1), "axis": i64(1)}))
    assert imported.outputs[0].shape == ("B", "S - 1", 8)


def test_a_slice_beyond_the_end_stops_there() -> None:
    nodes = [node("Slice", "x start end axis", "y")]
    imported = import_model(model(nodes, weights={"start": i64(3), "end": i64(99), "axis": i64(2)}))
    assert imported.outputs[0].shape == ("B", "S", 5)


def test_nodes_that_no_output_needs_are_left_out_even_if_unsupported() -> None:
    dead = helper.make_node("Multinomial", ["x"], ["unused"])
    assert ops(import_model(model([dead, node("Relu", "x", "y")])).module) == ["nn.relu"]


def test_identity_and_dropout_leave_no_op() -> None:
    nodes = [node("Identity", "x", "a"), node("Dropout", "a", "b"), node("Relu", "b", "y")]
    assert ops(import_model(model(nodes)).module) == ["nn.relu"]


def test_nodes_out_of_order_are_sorted() -> None:
    assert ops(import_model(model([node("Exp", "a", "y"), node("Relu", "x", "a")])).module) == ["nn.relu", "exp"]


def test_a_large_fill_is_left_to_run_time() -> None:
    nodes = [node("ConstantOfShape", "size", "c"), node("ReduceSum", "c", "r", keepdims=1), node("Add", "x r", "y")]
    imported = import_model(model(nodes, weights={"size": i64(50000, 50000)}))
    assert "full" in ops(imported.module)


def test_the_digest_depends_on_weights_and_not_on_where_the_model_comes_from(tmp_path: object) -> None:
    one = model([node("Add", "x w", "y")], weights={"w": np.float32(1)})
    two = model([node("Add", "x w", "y")], weights={"w": np.float32(2)})
    path = tmp_path / "a.onnx"  # type: ignore[operator]
    onnx.save(one, path)
    assert import_model(one).digest == import_model(path).digest == import_model(one.SerializeToString()).digest
    assert import_model(one).digest != import_model(two).digest


def test_ten_thousand_nodes_become_ten_thousand_ops() -> None:
    names = ["x", *[f"v{index}" for index in range(9_999)], "y"]
    chain = [node("Relu" if i % 2 else "Exp", names[i], names[i + 1]) for i in range(10_000)]
    assert len(ops(import_model(model(chain)).module)) == 10_000
