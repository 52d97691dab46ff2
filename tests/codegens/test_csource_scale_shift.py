"""Element-wise chains in one pass."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tests.codegens.ops import Compiled, check_against_host, patterns_of, random_array, relax_function

op = relax.op
IMAGE = (2, 5, 6, 7)


def constant(shape: tuple[int, ...], seed: int) -> relax.Expr:
    return relax.const(random_array(shape, seed=seed))


@pytest.mark.parametrize("channels", [(1, 5, 1, 1), (5, 1, 1), (), IMAGE])
@pytest.mark.parametrize("relu", [False, True])
def test_scaling_shifting_and_relu_are_one_pass(channels, relu):
    def body(x):
        y = op.add(constant(channels, 2), op.multiply(x, constant(channels, 1)))
        return op.nn.relu(y) if relu else y

    built = relax_function(body, (IMAGE, "float32"))
    assert patterns_of(built) == ["multiply_add_relu" if relu else "multiply_add"]
    check_against_host(built, random_array(IMAGE))


def test_addition_and_relu_are_one_pass():
    built = relax_function(lambda x, y: op.nn.relu(op.add(x, y)), (IMAGE, "float32"), (IMAGE, "float32"))
    assert patterns_of(built) == ["add_relu"]
    check_against_host(built, random_array(IMAGE), random_array(IMAGE, seed=1))


def test_nan_passes_through_the_relu():
    built = relax_function(lambda x, y: op.nn.relu(op.add(x, y)), ((3,), "float32"), ((3,), "float32"))
    result = Compiled(built)(np.array([np.nan, -1, 2], "float32"), np.zeros(3, "float32"))
    np.testing.assert_array_equal(result, np.array([np.nan, 0, 2], "float32"))


def test_symbolic_shapes_are_one_pass():
    shape = ("n", 5, "h", 7)
    built = relax_function(
        lambda x: op.nn.relu(op.add(op.multiply(x, constant((5, 1, 1), 1)), constant((5, 1, 1), 2))),
        (shape, "float32"),
    )
    assert patterns_of(built) == ["multiply_add_relu"]
    check_against_host(built, random_array((2, 5, 3, 7)))


def test_a_result_that_grows_on_the_way_and_integers_stay_separate():
    grown = relax_function(
        lambda x, y: op.nn.relu(op.add(op.multiply(x, x), y)), ((5, 1), "float32"), ((5, 7), "float32")
    )
    assert patterns_of(grown) == ["multiply", "add_relu"]
    whole = relax_function(lambda x, y: op.nn.relu(op.add(x, y)), ((5,), "int32"), ((5,), "int32"))
    assert patterns_of(whole) == ["add", "relu"]
