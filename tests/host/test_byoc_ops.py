"""Ops of the ``byoc.`` namespace: registered from Python, seen by the planner, compiled by the host."""

import numpy as np
import pytest
from tvm import relax, tirx

import byoc
from byoc.ops import byoc_op, call, find_op


@byoc_op("test_scaled_sum", ["x", "y"], infer=lambda c: c.args[0].ty)
def scaled_sum(builder, c):
    """x plus a multiple of y."""
    return relax.op.add(c.args[0], relax.op.multiply(c.args[1], relax.const(float(c.attrs["scale"]), "float32")))


def module_with_op():
    builder = relax.BlockBuilder()
    kind = relax.TensorType((tirx.Var("n", "int64"), 2), "float32")
    x, y = relax.Var("x", kind), relax.Var("y", kind)
    with builder.function("main", [x, y]):
        with builder.dataflow():
            result = builder.emit_output(builder.emit(call(scaled_sum, [x, y], {"scale": 2.0, "axes": (0, 1)})))
        builder.emit_func_output(result)
    return builder.get()


def test_the_host_compiles_the_legalisation():
    session = byoc.compile(module_with_op(), use_cache=False).session()
    x = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
    np.testing.assert_array_equal(session.run({"x": x, "y": x})["output"], 3 * x)


def test_a_plan_names_the_op_and_a_codegen_reads_its_attributes():
    plan = byoc.partition(module_with_op(), [])
    assert plan.functions[0].ops[0].op == "byoc.test_scaled_sum"
    node = plan.model.graphs["main"].nodes[0]
    assert node.attrs == {"scale": 2.0, "axes": (0, 1)}


def test_ops_are_found_with_and_without_prefix_and_registered_once():
    assert find_op("test_scaled_sum") is find_op("byoc.test_scaled_sum") is scaled_sum
    with pytest.raises(ValueError, match="registered twice"):
        byoc_op("test_scaled_sum", ["x"], infer=lambda c: c.args[0].ty)(lambda builder, c: c.args[0])
