"""What the canonical form must not change: types of constants, and where extents get their meaning."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper
from tvm import relax

from byoc.importer import import_model
from byoc.model import prepare_model
from byoc.rewrite.fold_constants import fold_constants


@pytest.mark.parametrize("dtype", ["int64", "float64", "int32", "float32"])
def test_a_folded_constant_keeps_its_element_type(dtype: str) -> None:
    builder, x = relax.BlockBuilder(), relax.Var("x", relax.TensorType([2, 2], dtype))
    column = relax.const(np.array([1, 2]).astype(dtype), dtype)
    with builder.function("main", [x]):
        with builder.dataflow():
            spread = builder.emit(relax.op.reshape(column, [2, 1]))
            result = builder.emit_output(relax.op.add(x, spread))
        builder.emit_func_output(result)
    folded = fold_constants(builder.get())
    relax.analysis.well_formed(folded)
    (block,) = folded["main"].body.blocks
    (binding,) = block.bindings
    assert binding.value.args[1].value.numpy().dtype == dtype


def test_what_folds_is_put_into_the_tuple_that_a_function_returns_and_into_a_checked_cast() -> None:
    builder, x = relax.BlockBuilder(), relax.Var("x", relax.TensorType((2,), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            made = builder.emit(relax.op.full((2,), relax.const(3, "float32"), "float32"))
            cast = builder.match_cast(made, relax.TensorType((2,), "float32"))
            both = builder.emit_output(relax.Tuple([made, relax.op.add(x, cast)]))
        builder.emit_func_output(both)
    folded = fold_constants(builder.get())["main"]
    relax.analysis.well_formed(folded)
    assert "relax.full" not in str(folded)


def test_no_op_that_needs_an_extent_known_at_run_time_shares_a_block_with_what_names_it() -> None:
    """TVM fuses and reorders within a block: it would move a range of that extent before the extent is there."""
    graph = helper.make_graph(
        [helper.make_node("HannWindow", ["size"], ["y"], name="window")],
        "g",
        [helper.make_tensor_value_info("size", TensorProto.INT64, [])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["length"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    for module in (import_model(model).module, prepare_model(model, []).module):
        blocks = module["main"].body.blocks
        casts = [block for block in blocks if any(isinstance(b, relax.MatchCast) for b in block.bindings)]
        assert [len(block.bindings) for block in casts if not isinstance(block, relax.DataflowBlock)] == [1]
