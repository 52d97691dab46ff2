"""Tensors made from their shape, one-hot codes, triangles."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tests.codegens.ops import Compiled, random_array, refusal_of, relax_function

op = relax.op
DTYPES = ["float32", "float64", "float16", "int8", "uint8", "int32", "int64", "bool"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_zeros_ones_and_full_of_every_dtype(dtype):
    body = lambda x: [op.zeros_like(x), op.ones_like(x), op.full_like(x, relax.const(1, dtype))]  # noqa: E731
    for array in Compiled(relax_function(body, (("n", 3), dtype)))(np.zeros((5, 3), dtype)):
        assert array.dtype == dtype and array.shape == (5, 3) and len(np.unique(array)) == 1
    body = lambda x: [op.zeros((2, 3), dtype), op.ones((4,), dtype), op.full((2,), relax.const(2.0), dtype)]  # noqa: E731
    zeros, ones, full = Compiled(relax_function(body, ((1,), dtype)))(np.zeros(1, dtype))
    np.testing.assert_array_equal(zeros, np.zeros((2, 3), dtype))
    np.testing.assert_array_equal(ones, np.ones(4, dtype))
    np.testing.assert_array_equal(full, np.full(2, 2, dtype))


@pytest.mark.parametrize(("start", "end", "step"), [(0, 5, 1), (-7, 9, 3), (2, 2, 1)])
@pytest.mark.parametrize("dtype", ["int64", "int32", "float32", "float16"])
def test_arange_counts_from_start_by_step(start, end, step, dtype):
    function = relax_function(lambda x: op.arange(start, end, step, dtype), ((1,), "float32"))
    got = Compiled(function)(np.zeros(1, "float32"))
    np.testing.assert_array_equal(got, np.arange(start, end, step).astype(dtype))


def test_arange_downwards_is_refused():
    function = relax_function(lambda x: op.arange(7, -2, -3, "int64"), ((1,), "float32"))
    assert "a step that is not positive" in refusal_of(function)


def test_arange_by_fractions():
    function = relax_function(lambda x: op.arange(0.5, 2.0, 0.25, "float32"), ((1,), "float32"))
    np.testing.assert_allclose(Compiled(function)(np.zeros(1, "float32")), np.arange(0.5, 2.0, 0.25))


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_one_hot_codes(axis):
    i = np.array([[1, 0, 3], [2, 9, -1]])
    on, off = relax.prim_value(2.5), relax.prim_value(-1.0)
    got = Compiled(relax_function(lambda i: op.one_hot(i, on, off, 4, axis), (i.shape, "int64")))(i)
    wanted = np.where(i[..., None] == np.arange(4), 2.5, -1.0)
    np.testing.assert_array_equal(got, np.moveaxis(wanted, -1, axis))


@pytest.mark.parametrize("k", [0, 1, -2, 9])
@pytest.mark.parametrize("dtype", ["float32", "bool", "int64"])
def test_triangles_of_matrices(k, dtype):
    x = random_array((2, 4, 5), dtype)
    function = relax_function(lambda x: [op.tril(x, k), op.triu(x, k)], (("n", "m", 5), dtype))
    lower, upper = Compiled(function)(x)
    np.testing.assert_array_equal(lower, np.tril(x, k))
    np.testing.assert_array_equal(upper, np.triu(x, k))
