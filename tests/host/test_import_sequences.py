"""Sequences: made inside a model, given to it element by element, and returned element by element."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import byoc
from byoc.errors import LimitError, UnsupportedModelError
from tests.imported import make_model, node

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def of_a_sequence() -> onnx.ModelProto:
    """y is the second element of the sequence x, doubled."""
    nodes = [node("SequenceAt", "x one", "e"), node("Add", "e e", "y")]
    model = make_model(nodes, {}, weights={"one": np.array(1)})
    element = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    model.graph.input.append(helper.make_value_info("x", helper.make_sequence_type_proto(element)))
    return model


def test_the_elements_of_a_sequence_are_inputs_of_the_shapes_asked_for() -> None:
    session = byoc.compile(of_a_sequence(), shapes={"x[0]": [1], "x[1]": [2, 3]}, use_cache=False).session()
    assert [spec.name for spec in session.entry_functions[0].inputs] == ["x[0]", "x[1]"]
    results = session.run({"x[0]": np.ones(1, np.float32), "x[1]": X})
    np.testing.assert_array_equal(results["y"], 2 * X)


def test_a_sequence_of_unknown_length_is_refused_with_what_to_give() -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        byoc.partition(of_a_sequence())
    assert str(caught.value) == (
        '[BYOC-203] input "x" is a sequence\n'
        "  why: how many elements it has, and of which shapes, must be known at import\n"
        '  do:  give the shape of each, such as --shape "x[0]=2,3".'
    )


def test_the_elements_of_a_returned_sequence_are_outputs_of_their_own() -> None:
    model = make_model([node("SplitToSequence", "x", axis=1)], {"x": ("float32", X.shape)})
    results = byoc.compile(model, use_cache=False).session().run({"x": X})
    assert {name: value.tolist() for name, value in results.items()} == {
        "y[0]": [[0.0], [3.0]],
        "y[1]": [[1.0], [4.0]],
        "y[2]": [[2.0], [5.0]],
    }


def test_a_loop_of_too_many_turns_is_refused_and_not_unrolled() -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["c", "c"], ["d"])],
        "body",
        [helper.make_tensor_value_info(n, t, []) for n, t in (("i", TensorProto.INT64), ("go", TensorProto.BOOL))]
        + [helper.make_tensor_value_info("c", TensorProto.FLOAT, [2, 3])],
        [onnx.ValueInfoProto(name=name) for name in ("on", "d")],
    )
    model = make_model(
        [node("Loop", "m go x", body=body)], {"x": ("float32", X.shape)},
        weights={"m": np.array(10**12), "go": np.array(True)},
    )  # fmt: skip
    with pytest.raises(LimitError, match="its turns come to more than 20000 nodes"):
        byoc.partition(model)
