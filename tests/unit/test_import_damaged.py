"""Damage that leaves a file readable: each kind was found by damaging models at random."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from byoc.errors import ModelFileError, UnsupportedModelError
from tests.unit.test_import_bad_input import FLOAT, RELU, model, refusal


def test_a_name_that_is_no_text_is_refused_with_its_place() -> None:
    data = model(helper.make_node("Relu", ["x"], ["y"], name="rectified")).SerializeToString()
    assert refusal(data.replace(b"rectified", b"rec\xffified"), ModelFileError) == (
        "[BYOC-201] the model given as bytes is damaged\n"
        "  why: graph.node[0].name is a text, and is not UTF-8\n"
        "  do:  check the file, or export the model again."
    )


@pytest.mark.parametrize("version", [-1, 2**40])
def test_an_absurd_version_of_a_domain_is_refused(version: int) -> None:
    proto = model(RELU)
    proto.opset_import[1].version = version
    assert f"declares opset {version} of domain com.acme" in refusal(proto, ModelFileError)


@pytest.mark.parametrize("value", [-1, 2, -(2**31)])
def test_a_flag_that_is_neither_0_nor_1_is_refused(value: int) -> None:
    node = helper.make_node("ReduceMean", ["x"], ["y"], name="mean", axes=[1], keepdims=value)
    assert refusal(model(node), UnsupportedModelError) == (
        '[BYOC-203] node "mean" (ReduceMean) cannot be imported\n'
        f'  why: its attribute "keepdims" = {value} is neither 0 nor 1\n'
        "  do:  change the model or its export so that it avoids this."
    )


def branch(name: str, *operators: str) -> onnx.GraphProto:
    """A branch that gives the result of each operator on ``x``."""
    nodes = [helper.make_node(o, ["x"], [f"{name}{i}"]) for i, o in enumerate(operators)]
    outputs = [helper.make_tensor_value_info(f"{name}{i}", FLOAT, None) for i in range(len(operators))]
    return helper.make_graph(nodes, name, [], outputs)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (("IsNaN",), 'its branches give "y" different element types'),
        (("Exp", "Neg"), "its else_branch gives 2 values, and it has 1 outputs"),
    ],
)
def test_branches_that_differ_in_what_they_give_are_refused(other: tuple[str, ...], why: str) -> None:
    node = helper.make_node(
        "If", ["which"], ["y"], name="choice", then_branch=branch("t", "Exp"), else_branch=branch("e", *other)
    )
    proto = model(node)
    proto.graph.input.append(helper.make_tensor_value_info("which", TensorProto.BOOL, []))
    assert f"  why: {why}\n" in refusal(proto, UnsupportedModelError)
