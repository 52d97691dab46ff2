"""dnnl: what a primitive computes after its own op, for any layout of what it reads, beside numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import relax

from tests.codegens.dnnl_ops import Compiled, needs_onednn
from tests.codegens.ops import random_array, relax_function

pytestmark = needs_onednn
op = relax.op

FIRST = {
    "exponential": (lambda x, y: op.exp(x), lambda x, y: np.exp(x)),
    "product": (op.multiply, np.multiply),
    "maximum": (op.maximum, np.maximum),
    "sum of the last axis": (lambda x, y: op.sum(x, [-1], True), lambda x, y: x.sum(-1, keepdims=True)),
    "matrix product": (
        lambda x, y: op.matmul(x, relax.const(np.ones((x.ty.shape[-1].value, 3), np.float32))),
        lambda x, y: x @ np.ones((x.shape[-1], 3), np.float32),
    ),
}
THEN = {"add": (op.add, np.add), "multiply": (op.multiply, np.multiply), "maximum": (op.maximum, np.maximum)}
ANYTHING = {"relu": (op.nn.relu, lambda x: np.maximum(x, 0)), "tanh": (op.tanh, np.tanh)}
OPERANDS = ("same shape", "channel", "last axis", "one")


def shape_of(operand: str, whole: tuple[int, ...]) -> tuple[int, ...]:
    kept = {"same shape": range(len(whole)), "channel": [1], "last axis": [len(whole) - 1], "one": []}[operand]
    return tuple(size if axis in kept else 1 for axis, size in enumerate(whole))


@st.composite
def cases(draw: Any) -> tuple[Any, ...]:
    shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 5]), min_size=2, max_size=6)))
    order = tuple(draw(st.permutations(range(len(shape)))))
    steps = st.tuples(st.sampled_from(sorted(THEN)), st.sampled_from(OPERANDS)) | st.sampled_from(sorted(ANYTHING))
    return shape, order, draw(st.sampled_from(sorted(FIRST))), draw(st.lists(steps, min_size=1, max_size=4))


@settings(max_examples=60, deadline=None)
@given(cases())
def test_a_chain_of_ops_behind_any_op_on_turned_axes_gives_what_numpy_gives(case: tuple[Any, ...]) -> None:
    shape, order, first, steps = case
    x, y = random_array(shape), random_array(tuple(shape[axis] for axis in order), seed=1)
    wanted = FIRST[first][1](x.transpose(order), y)
    others = [random_array(shape_of(s[1], wanted.shape), seed=i) for i, s in enumerate(steps) if s not in ANYTHING]
    given_arrays = [x, y, *others]

    def body(x: Any, y: Any, *others: Any) -> Any:
        result, rest = emitted(FIRST[first][0](emitted(op.permute_dims(x, order)), y)), iter(others)
        for step in steps:
            call = ANYTHING[step][0](result) if step in ANYTHING else THEN[step[0]][0](result, next(rest))
            result = emitted(call)
        return result

    rest = iter(others)
    for step in steps:
        wanted = ANYTHING[step][1](wanted) if step in ANYTHING else THEN[step[0]][1](wanted, next(rest))
    got = Compiled(relax_function(body, *((a.shape, "float32") for a in given_arrays)))(*given_arrays)[0]
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


def emitted(call: Any) -> Any:
    return relax.BlockBuilder.current().normalize(call)
