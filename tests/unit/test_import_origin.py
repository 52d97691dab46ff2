"""Every op remembers the ONNX node that it came from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import tvm
from onnx import TensorProto, helper, numpy_helper
from tvm import relax

from byoc.importer import Origin, import_model, inherit_origins, keep_origins, origin_of, with_origin

FLOAT, BOOL = TensorProto.FLOAT, TensorProto.BOOL
CONV_WEIGHTS = {"w": np.ones((3, 2, 1, 1), np.float32), "b": np.ones(3, np.float32)}


def model(
    nodes: list[onnx.NodeProto],
    weights: dict[str, np.ndarray] | None = None,
    shape: tuple[object, ...] = (1, 2, 4, 4),
    **more: object,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("own", 1)], ir_version=8, **more
    )


def calls(module: tvm.IRModule) -> list[relax.Call]:
    found: list[relax.Call] = []

    def visit(sequence: relax.SeqExpr) -> None:
        for block in sequence.blocks:
            for binding in block.bindings:
                if isinstance(binding.value, relax.Call):
                    assert isinstance(block, relax.DataflowBlock), binding
                    found.append(binding.value)
                elif isinstance(binding.value, relax.If):
                    visit(binding.value.true_branch)
                    visit(binding.value.false_branch)

    visit(module["main"].body)
    return found


def origins(module: tvm.IRModule) -> list[tuple[str, Origin | None]]:
    return [(call.op.name.removeprefix("relax."), origin_of(call)) for call in calls(module)]


def test_all_ops_of_a_node_have_its_name_and_type() -> None:
    conv = helper.make_node("Conv", ["x", "w", "b"], ["c"], name="/stem/conv")
    swish = helper.make_node("HardSwish", ["c"], ["y"])
    assert origins(import_model(model([conv, swish], CONV_WEIGHTS)).module) == [
        ("nn.conv2d", Origin("/stem/conv", "Conv")),
        ("add", Origin("/stem/conv", "Conv")),
        ("add", Origin("HardSwish_1", "HardSwish")),
        ("clip", Origin("HardSwish_1", "HardSwish")),
        ("multiply", Origin("HardSwish_1", "HardSwish")),
        ("divide", Origin("HardSwish_1", "HardSwish")),
    ]


def test_ops_of_both_branches_of_an_if_have_origins() -> None:
    def branch(op: str) -> onnx.GraphProto:
        nodes = [
            helper.make_node(op, ["x"], [f"{op}_out"]),
            helper.make_node("Exp", [f"{op}_out"], [f"{op}_end"], name=f"{op}_exp"),
        ]
        return helper.make_graph(nodes, op, [], [helper.make_tensor_value_info(f"{op}_end", FLOAT, None)])

    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0, name="peak"),
        helper.make_node("Greater", ["m", "zero"], ["c"], name="test"),
        helper.make_node("If", ["c"], ["y"], name="choice", then_branch=branch("Sin"), else_branch=branch("Cos")),
    ]
    module = import_model(model(nodes, {"zero": np.array(0, np.float32)})).module
    assert [origin for _, origin in origins(module)] == [
        Origin("peak", "ReduceMax"),
        Origin("test", "Greater"),
        Origin("choice/then_branch/Sin_0", "Sin"),
        Origin("Sin_exp", "Exp"),
        Origin("choice/else_branch/Cos_0", "Cos"),
        Origin("Cos_exp", "Exp"),
    ]


def test_a_branch_that_is_decided_at_import_leaves_no_if() -> None:
    def branch(op: str) -> onnx.GraphProto:
        return helper.make_graph(
            [helper.make_node(op, ["x"], [op])], op, [], [helper.make_tensor_value_info(op, FLOAT, None)]
        )

    choice = helper.make_node("If", ["yes"], ["y"], name="choice", then_branch=branch("Sin"), else_branch=branch("Cos"))
    module = import_model(model([choice], {"yes": np.array(True)})).module
    assert [name for name, _ in origins(module)] == ["sin"]


def test_nodes_of_a_model_function_are_named_below_their_caller() -> None:
    body = [helper.make_node("Exp", ["a"], ["e"], name="inner"), helper.make_node("Add", ["e", "a"], ["r"])]
    function = helper.make_function("own", "ExpAdd", ["a"], ["r"], body, [helper.make_opsetid("", 17)])
    call = helper.make_node("ExpAdd", ["x"], ["y"], name="f", domain="own")
    module = import_model(model([call], functions=[function])).module
    assert origins(module) == [("exp", Origin("f()/inner", "Exp")), ("add", Origin("f()/Add_1", "Add"))]


def test_what_the_standard_defines_by_other_operators_counts_as_the_node_itself() -> None:
    node = helper.make_node("MeanVarianceNormalization", ["x"], ["y"], name="mvn")
    found = origins(import_model(model([node])).module)
    assert len(found) > 3
    assert {origin for _, origin in found} == {Origin("mvn", "MeanVarianceNormalization")}


def test_origins_outlive_passes() -> None:
    conv = helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv")
    norm = helper.make_node("BatchNormalization", ["c", "b", "b", "b", "b"], ["y"], name="norm")
    module = import_model(model([conv, norm], CONV_WEIGHTS)).module
    for step in (
        relax.transform.DecomposeOpsForInference(),
        relax.transform.FoldConstant(),
        relax.transform.CanonicalizeBindings(),
        relax.transform.EliminateCommonSubexpr(),
    ):
        module = keep_origins(step)(module)
    found = origins(module)
    assert {origin for _, origin in found} == {Origin("conv", "Conv"), Origin("norm", "BatchNormalization")}
    assert found[0] == ("nn.conv2d", Origin("conv", "Conv"))


def three_calls(*, named: set[int]) -> tvm.IRModule:
    """relu -> exp -> sin; those in ``named`` have the origin of their number."""
    x = relax.Var("x", relax.TensorType([4], "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        value: relax.Expr = x
        with builder.dataflow():
            for index, compute in enumerate((relax.op.nn.relu, relax.op.exp, relax.op.sin)):
                call = compute(value)
                value = builder.emit(with_origin(call, Origin(f"n{index}", "Op")) if index in named else call)
            value = builder.emit_output(value)
        builder.emit_func_output(value)
    return builder.get()


def names(module: tvm.IRModule) -> Iterator[str]:
    return (origin.node if origin else "?" for _, origin in origins(module))


def test_a_call_without_an_origin_takes_its_consumers() -> None:
    assert list(names(inherit_origins(three_calls(named={2})))) == ["n2", "n2", "n2"]


def test_a_call_without_a_consumer_takes_its_producers() -> None:
    assert list(names(inherit_origins(three_calls(named={0})))) == ["n0", "n0", "n0"]


def test_a_call_between_two_takes_its_consumers() -> None:
    assert list(names(inherit_origins(three_calls(named={0, 2})))) == ["n0", "n2", "n2"]


def test_no_call_stays_anonymous_even_if_none_has_an_origin() -> None:
    assert "?" not in list(names(inherit_origins(three_calls(named=set()))))


def test_inheriting_twice_changes_nothing() -> None:
    once = inherit_origins(three_calls(named={1}))
    assert inherit_origins(once) is once
