"""Partitioned modules are well-formed and compute what the unpartitioned ones do."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import tvm
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tvm import relax

import byoc
from byoc.lower.outline import outline
from byoc.patterns import op
from tests.host.modules import BINARY, UNARY, add_function, dag, host_target_of, run_on_host

X = np.linspace(-2, 2, 32, dtype="float32").reshape(4, 8)
Y = np.cos(X).astype("float32")


def check_same_result(module: object, *targets: str, entry: str = "main", **planning: object) -> byoc.Plan:
    plan = byoc.partition(module, targets, **planning)
    session = byoc.compile(plan, use_cache=False).session()
    got = list(session.run({"x": X, "y": Y}, entry=entry).values())
    for value, expected in zip(got, run_on_host(module, entry, X, Y), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)
    return plan


def test_regions_that_depend_on_each_other_become_two_partitions_not_a_cycle() -> None:
    ops = [
        ("relu", [-1]),
        ("relu", [-2]),
        ("sin", [0]),
        ("sin", [1]),
        ("add", [0, 3]),
        ("add", [1, 2]),
        ("add", [4, 5]),
    ]
    plan = check_same_result(dag(ops, [6]), host_target_of("mutual", ["nn.relu", "add"]))
    assert len(plan.functions[0].partitions) == 3
    assert plan.coverage()["mutual"][0] == 5


def test_a_match_that_is_not_convex_is_refused_with_the_reader_named() -> None:
    target = host_target_of("nonconvex", patterns={"add_relu": op("add")(op("nn.relu")("x"), "y")})
    ops = [("relu", [-1]), ("sin", [0]), ("add", [0, 1])]
    plan = check_same_result(dag(ops, [2]), target)
    assert plan.coverage()["nonconvex"][0] == 0
    reason = plan.functions[0].ops[2].verdicts[0].reason
    assert "nn.relu" in reason and "also read by sin" in reason


def test_partitions_have_several_outputs_and_unpack_tuples() -> None:
    ops = [("relu", [-1]), ("exp", [0]), ("split_add", [1]), ("sin", [0]), ("add", [2, 3])]
    plan = check_same_result(dag(ops, [0, 2, 4]), host_target_of("several", ["nn.relu", "exp", "split", "concat"]))
    assert len(plan.functions[0].partitions) == 1


def test_symbolic_rows_pass_through_partitions() -> None:
    n = tvm.tirx.Var("n", "int64")
    check_same_result(
        dag([("relu", [-1]), ("sin", [0]), ("add", [1, -2])], [2], n=n), host_target_of("sym", ["nn.relu", "add"])
    )


def test_two_entry_functions_without_a_main_share_one_artifact() -> None:
    builder = relax.BlockBuilder()
    add_function(builder, [("relu", [-1]), ("add", [0, -2])], [1], n=4, name="prefill")
    add_function(builder, [("add", [-1, -2]), ("sin", [0]), ("relu", [1])], [2], n=4, name="decode")
    module = builder.get()
    target = host_target_of("entries", ["nn.relu", "add"])
    for entry in ("prefill", "decode"):
        plan = check_same_result(module, target, entry=entry)
    assert [f.name for f in plan.functions] == ["decode", "prefill"]


def if_model() -> onnx.ModelProto:
    def branch(name: str, kind: str) -> onnx.GraphProto:
        nodes = [
            helper.make_node(kind, ["a"], [f"{name}_1"], name=f"/{name}/{kind}"),
            helper.make_node("Relu", [f"{name}_1"], [f"{name}_2"], name=f"/{name}/Relu"),
        ]
        return helper.make_graph(
            nodes, name, [], [helper.make_tensor_value_info(f"{name}_2", TensorProto.FLOAT, [4, 8])]
        )

    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="/Relu"),
        helper.make_node(
            "If", ["flag"], ["b"], name="/If", then_branch=branch("then", "Exp"), else_branch=branch("else", "Neg")
        ),
        helper.make_node("Add", ["a", "b"], ["z"], name="/Add"),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "branches",
        [info("x", TensorProto.FLOAT, [4, 8]), info("flag", TensorProto.BOOL, [])],
        [info("z", TensorProto.FLOAT, [4, 8])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.mark.parametrize("flag", [True, False])
def test_an_if_model_is_partitioned_inside_and_around_its_branches(flag: bool) -> None:
    model = if_model()
    plan = byoc.partition(model, [host_target_of("branches", ["nn.relu", "add", "exp"])])
    owners = {o.node: o.owner for o in plan.functions[0].ops if o.node}
    assert owners["/Relu"] == owners["/then/Relu"] == owners["/Add"] == "branches"
    feed = {"x": X, "flag": np.array(flag)}
    expected = onnxruntime.InferenceSession(model.SerializeToString()).run(None, feed)[0]
    got = byoc.compile(plan, use_cache=False).session().run(feed)["z"]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@st.composite
def dags(draw: st.DrawFn) -> tuple[list[tuple[str, list[int]]], list[int]]:
    ops = []
    for index in range(draw(st.integers(1, 12))):
        kind = draw(st.sampled_from([*UNARY, *BINARY, "split_add"]))
        count = 2 if kind in BINARY else 1
        ops.append((kind, [draw(st.integers(-2, index - 1)) for _ in range(count)]))
    outputs = draw(st.lists(st.integers(0, len(ops) - 1), min_size=1, max_size=3, unique=True))
    return ops, outputs


@given(
    graph=dags(),
    taken=st.sets(st.sampled_from(["nn.relu", "exp", "sin", "add", "multiply", "split", "concat"]), min_size=1),
)
@settings(max_examples=40, deadline=None)
def test_outlining_then_inlining_computes_the_same(graph: tuple, taken: set[str]) -> None:
    ops, outputs = graph
    module = dag(ops, outputs)
    plan = byoc.partition(module, [host_target_of("inlined", taken)])
    prepared = plan.model
    outlined = outline(prepared.module, prepared.graphs, plan.functions)
    relax.analysis.well_formed(outlined)
    called = {str(v.name_hint) for v, f in outlined.functions_items() if f.attrs is not None and "Codegen" in f.attrs}
    assert called == {p.symbol for p in plan.functions[0].partitions}
    for before, after in zip(
        run_on_host(prepared.module, "main", X, Y), run_on_host(outlined, "main", X, Y), strict=True
    ):
        np.testing.assert_array_equal(before, after)


def test_a_result_that_a_reshape_to_its_own_shape_gives_a_second_name_may_be_read_too() -> None:
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((4, 8), "float32"))
    y = relax.Var("y", relax.TensorType((4, 8), "float32"))
    with builder.function("main", [x, y]):
        with builder.dataflow():
            inner = builder.emit(relax.op.exp(x))
            result = builder.emit_output(relax.op.reshape(inner, (4, 8)))
            further = builder.emit_output(relax.op.add(builder.emit(relax.op.sin(result)), y))
        builder.emit_func_output(relax.Tuple([further, result]))
    target = host_target_of("takes_all", ["exp", "sin", "add", "reshape"])
    plan = check_same_result(builder.get(), target)
    assert [len(f.partitions) for f in plan.functions] == [1]
