"""Inputs that sessions refuse, and symbolic dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tvm import relax

from byoc.errors import InputError
from byoc.runtime import Session, aligned_copy
from byoc.tensor_spec import TensorSpec
from tests.handmade import host_model
from tests.session_inputs import Exporter, numbers, unaligned


@pytest.mark.parametrize(
    ("inputs", "what"),
    [
        ({"y": numbers(2)}, "no input is called 'y'; 'x' not given"),
        ({}, "'x' not given"),
        ({"x": numbers(2), "extra": numbers(2)}, "no input is called 'extra'"),
        ({"x": numbers(2).astype(np.float64)}, 'input "x" is float64, float32 is expected'),
        ({"x": numbers(2).astype(">f4")}, 'input "x" is >f4, float32 is expected'),
        ({"x": numbers(2).astype(object)}, 'input "x" is object, float32 is expected'),
        ({"x": np.array([["a"] * 4])}, 'input "x" is <U1, float32 is expected'),
        ({"x": Exporter(numbers(2).astype(np.float64))}, 'input "x" is float64, float32 is expected'),
        ({"x": numbers(2)[0]}, r'input "x" has shape \[4\], \[n, 4\] is expected'),
        ({"x": numbers(2)[:, :3]}, r'input "x" has shape \[2, 3\], \[n, 4\] is expected'),
        ({"x": [[1.0, 2.0, 3.0, 4.0]]}, 'input "x" is a list'),
        ({"x": None}, 'input "x" is a NoneType'),
        ({"x": Exporter(numbers(2), device=2)}, 'input "x" is on another device'),
        ({"x": Exporter(aligned_copy(numbers(2).astype(np.complex64)))}, 'input "x" cannot be exported'),
        ({"x": Exporter(unaligned(numbers(2).astype(np.complex64)))}, 'input "x" cannot be exported'),
        ([numbers(2)], "inputs are a list"),
        ({1: numbers(2)}, "no input is called 1"),
    ],
)
def test_wrong_inputs_are_refused_with_what_is_expected(session: Session, inputs: Any, what: str) -> None:
    with pytest.raises(InputError, match=what) as caught:
        session.run(inputs, entry="main")
    assert '"main" expects x: float32[n, 4]' in caught.value.todo


def test_a_misspelt_name_is_recognised() -> None:
    specs = [TensorSpec("input_ids", "int64", (2,)), TensorSpec("attention_mask", "int64", (2,))]
    model = host_model({"main": (specs, [TensorSpec("y", "int64", (2,))], lambda a, b: relax.op.add(a, b))})
    ones = np.ones(2, np.int64)
    with model.session() as session, pytest.raises(InputError, match='did you mean "attention_mask"'):
        session.run({"input_ids": ones, "atention_mask": ones})


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_an_empty_input_of_several_dimensions_runs(dtype: str) -> None:
    specs = [TensorSpec(name, dtype, (2, extent, 4)) for name, extent in (("past", "p"), ("new", "n"), ("y", "p + n"))]
    model = host_model({"main": (specs[:2], specs[2:], lambda past, new: relax.op.concat([past, new], 1))})
    new = np.arange(24).reshape(2, 3, 4).astype(dtype)
    with model.session() as session:
        found = session.run({"past": np.zeros((2, 0, 4), dtype), "new": new})
    np.testing.assert_array_equal(found["y"], new)


@pytest.fixture(scope="module")
def symbolic() -> Iterator[Session]:
    """y = a @ b, a[m, k], b[k, (2 * m)]."""
    specs = [TensorSpec("a", "float32", ("m", "k")), TensorSpec("b", "float32", ("k", "(2 * m)"))]
    model = host_model(
        {"main": (specs, [TensorSpec("y", "float32", ("m", "(2 * m)"))], lambda a, b: relax.op.matmul(a, b))}
    )
    with model.session() as session:
        yield session


@pytest.mark.parametrize(("m", "k"), [(1, 1), (3, 5), (2, 7)])
def test_symbolic_dimensions_take_the_sizes_of_each_call(symbolic: Session, m: int, k: int) -> None:
    a, b = np.full((m, k), 2, np.float32), np.full((k, 2 * m), 3, np.float32)
    np.testing.assert_array_equal(symbolic.run({"a": a, "b": b})["y"], np.full((m, 2 * m), 6.0 * k))


@pytest.mark.parametrize(
    ("a", "b", "what"),
    [
        ((2, 3), (4, 4), r'dimension "k" is 3 in "a" \(axis 1\) and 4 in "b" \(axis 0\)'),
        ((2, 3), (3, 5), r'input "b" has shape \[3, 5\]'),
        ((2, 3), (3,), r'input "b" has shape \[3\], \[k, \(2 \* m\)\] is expected'),
    ],
)
def test_symbolic_dimensions_that_disagree_are_refused(
    symbolic: Session, a: tuple[int, ...], b: tuple[int, ...], what: str
) -> None:
    for _ in range(2):  # a good call between must not hide a bad one
        with pytest.raises(InputError, match=what):
            symbolic.run({"a": np.zeros(a, np.float32), "b": np.zeros(b, np.float32)})
        symbolic.run({"a": np.zeros((2, 3), np.float32), "b": np.zeros((3, 4), np.float32)})
