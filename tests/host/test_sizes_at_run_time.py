"""Sizes that follow from the inputs' and go beyond 64 bits end a run with an error, not with memory written to."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

import byoc
from byoc.errors import SessionError


@pytest.fixture(scope="module")
def cube() -> bytes:
    """Three vectors of N elements along three axes: a choice among N * N * N, of which 2**65 bytes wrap to none."""
    shapes = [helper.make_tensor(f"s{i}", TensorProto.INT64, [3], np.where(np.arange(3) == i, -1, 1)) for i in range(3)]
    nodes = [helper.make_node("Reshape", [name, f"s{i}"], [f"{name}{i}"]) for i, name in enumerate("cab")]
    nodes.append(helper.make_node("Where", ["c0", "a1", "b2"], ["y"]))
    kinds = {"c": TensorProto.BOOL, "a": TensorProto.FLOAT, "b": TensorProto.FLOAT}
    inputs = [helper.make_tensor_value_info(name, kind, ["N"]) for name, kind in kinds.items()]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], shapes)
    opset = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())


def vectors(size: int) -> dict[str, np.ndarray]:
    return {
        "c": np.arange(size) % 2 == 0,
        "a": np.arange(size, dtype=np.float32),
        "b": -np.arange(size, dtype=np.float32),
    }


@pytest.mark.parametrize("targets", [[], ["csource"]])
@pytest.mark.parametrize("size", [2**21, 2**21 + 1])
def test_a_product_of_sizes_that_wraps_is_an_error_and_the_session_goes_on(
    cube: bytes, targets: list[str], size: int
) -> None:
    session = byoc.compile(cube, targets).session()
    with pytest.raises(SessionError, match="1024 TiB for results on their way are more than the system gives"):
        session.run(vectors(size))
    given = vectors(3)
    wanted = np.where(given["c"][:, None, None], given["a"][None, :, None], given["b"][None, None, :])
    np.testing.assert_array_equal(session.run(given)["y"], wanted)
