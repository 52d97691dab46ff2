"""State that lives across calls: updated in place by the host and by partitions, shared by entry functions."""

import numpy as np
import pytest
from tvm import relax
from tvm.script import tirx as T  # noqa: N812 - TVMScript knows it by this name

import byoc
from byoc import Codegen, op
from byoc.errors import UnsupportedModelError, UsageError
from byoc.ops import byoc_op, call, update_in_place
from byoc.registry import register_codegen


@byoc_op("test_accumulate", ["total", "x"], infer=lambda c: c.args[0].ty, in_place=0)
def accumulate(builder, c):
    """Add x to the total, in place."""

    @T.prim_func(private=True, s_tir=True)
    def add(total: T.Buffer((T.int64(4),), "float32"), x: T.Buffer((T.int64(4),), "float32")):
        for i in range(T.int64(4)):
            total[i] = total[i] + x[i]

    return update_in_place(builder, "accumulate", add, c.args)


@register_codegen("test_accumulator")
class Accumulator(Codegen):
    patterns = {"accumulate": op("byoc.test_accumulate")("total", "x"), "double": op("add")("a", "b")}

    def emit_match(self, m):
        if m.pattern == "double":
            return f"for (int i = 0; i < 4; ++i) {m.out}[i] = {m['a']}[i] + {m['b']}[i];"
        return f"for (int i = 0; i < 4; ++i) {m.out}[i] += {m['x']}[i];"


def running_total(states=("total",), sizes=(4, 4)):
    """`add` puts twice x onto the total and returns its exponential; `ask` returns the total plus x."""
    builder = relax.BlockBuilder()
    for name, size in zip(("add", "ask"), sizes, strict=True):
        x = relax.Var("x", relax.TensorType((size,), "float32"))
        total = relax.Var("total", relax.TensorType((size,), "float32"))
        with builder.function(name, [x, total], attrs={"byoc_states": list(states)}):
            with builder.dataflow():
                if name == "add":
                    now = builder.emit(call(accumulate, [total, builder.emit(relax.op.add(x, x))]))
                    result = builder.emit_output(relax.op.exp(now))
                else:
                    result = builder.emit_output(relax.op.add(total, x))
            builder.emit_func_output(result)
    return builder.get()


ONES = {"x": np.ones(4, np.float32)}
ZEROS = {"x": np.zeros(4, np.float32)}


@pytest.mark.parametrize("targets", [[], ["test_accumulator"]])
@pytest.mark.parametrize("pins", [[], ["op:byoc.test_accumulate=host"]])
def test_entry_functions_share_a_state_that_is_updated_in_place(targets, pins, tmp_path):
    artifact = byoc.compile(running_total(), targets, pins=pins, use_cache=False)
    artifact.save(tmp_path / "model.byoc")
    session = byoc.load(tmp_path / "model.byoc")
    memory = session.state.arrays["total"].ctypes.data
    for wanted in (2.0, 4.0):
        np.testing.assert_allclose(session.run(ONES, entry="add")["output"], np.exp(np.full(4, wanted)), rtol=1e-6)
        np.testing.assert_array_equal(session.run(ZEROS, entry="ask")["output"], np.full(4, wanted))
    np.testing.assert_array_equal(session.state.arrays["total"], np.full(4, 4.0))
    assert session.state.arrays["total"].ctypes.data == memory


def test_a_state_can_be_copied_reset_and_replaced():
    session = byoc.compile(running_total(), [], use_cache=False).session()
    session.run(ONES, entry="add")
    other = session.state.copy()
    session.run(ONES, entry="add", state=other)
    assert session.state.arrays["total"][0] == 2
    assert other.arrays["total"][0] == 4
    assert other.nbytes == 16
    session.state.reset()
    assert session.run(ZEROS, entry="ask")["output"][0] == 0
    assert session.new_state().arrays["total"][0] == 0


def test_a_state_of_another_model_is_refused():
    session = byoc.compile(running_total(), [], use_cache=False).session()
    from byoc.runtime.state import State

    with pytest.raises(UsageError, match="the state belongs to another model"):
        session.run(ONES, entry="add", state=State(session.manifest.states, "0" * 64))


def test_entry_functions_that_disagree_about_a_state_are_refused():
    with pytest.raises(
        UnsupportedModelError, match=r'the state "total" is total: float32\[4\] in add and .*\[5\] in ask'
    ):
        byoc.partition(running_total(sizes=(4, 5)), [])


def test_states_must_be_the_last_parameters():
    with pytest.raises(UnsupportedModelError, match="the states x are not the last parameters"):
        byoc.partition(running_total(states=("x",)), [])
