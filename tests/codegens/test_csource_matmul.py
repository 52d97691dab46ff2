"""Matrix products: batches, vectors, transposed operands, and what follows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tvm import relax

from tests.codegens.ops import (
    Compiled,
    check_against_host,
    patterns_of,
    random_array,
    refusal_of,
    relax_function,
)

op = relax.op
SIZES = {"n": 2, "h": 9, "w": 11}
F32 = "float32"


def identity(y: Any) -> Any:
    return y


def function(
    x: tuple,
    w: tuple,
    *,
    dtype: str = F32,
    constant: str = "",
    axes: tuple[Any, Any] = (None, None),
    then: Callable = identity,
    **attrs: Any,
) -> Any:
    """x by w, each transposed by its `axes`; `constant` names the operand that is one."""

    def body(*given: Any) -> Any:
        values = list(given)
        if constant:
            shape, seed, at = (x, 0, 0) if constant == "x" else (w, 1, 1)
            values.insert(at, relax.const(random_array(shape, dtype, seed), dtype))
        operands = [op.permute_dims(v, a) if a else v for v, a in zip(values, axes, strict=True)]
        return then(op.matmul(*operands, **attrs))

    return relax_function(body, *[(s, dtype) for name, s in (("x", x), ("w", w)) if name != constant])


def check(x: tuple, w: tuple, *, dtype: str = F32, constant: str = "", isa: str = "native", **more: Any) -> None:
    shapes = [[SIZES.get(d, d) for d in shape] for shape in (x, w)]
    named = [("x", random_array(shapes[0], dtype, 0)), ("w", random_array(shapes[1], dtype, 1))]
    tolerance = 2e-2 if dtype == "float16" else 1e-4
    built = function(x, w, dtype=dtype, constant=constant, **more)
    check_against_host(built, *[a for n, a in named if n != constant], rtol=tolerance, atol=tolerance, isa=isa)


@pytest.mark.parametrize("isa", ["avx512", "avx2", "portable"])
@pytest.mark.parametrize("constant", ["", "w"])
@pytest.mark.parametrize(
    ("x", "w"),
    [((37, 70), (70, 45)), ((1, 700), (700, 45)), ((2, 3, 9, 70), (70, 45)), ((3, 9, 70), (2, 1, 70, 45))],
)
def test_each_vector_width_gives_the_host_result(isa, constant, x, w):
    check(x, w, isa=isa, constant=constant)


@pytest.mark.parametrize("constant", ["", "x", "w"])
@pytest.mark.parametrize(
    ("x", "w"),
    [
        ((70,), (70, 45)),
        ((37, 70), (70,)),
        ((70,), (70,)),
        ((2, 37, 70), (70,)),
        ((70,), (2, 70, 5)),
        ((3, 0), (0, 5)),
        ((0, 3), (3, 5)),
        ((3, 1), (1, 5)),
    ],
)
def test_vectors_and_empty_matrices(x, w, constant):
    check(x, w, constant=constant)


@pytest.mark.parametrize("constant", ["", "x", "w"])
@pytest.mark.parametrize(
    ("x", "w", "axes"),
    [
        ((37, 70), (45, 70), (None, [1, 0])),
        ((70, 37), (45, 70), ([1, 0], [1, 0])),
        ((2, 12, 3, 7), (2, 13, 3, 7), ([0, 2, 1, 3], [0, 2, 3, 1])),
        ((2, 12, 3, 7), (7, 5), ([0, 2, 1, 3], None)),
    ],
)
def test_transposed_operands_are_fused(x, w, axes, constant):
    assert patterns_of(function(x, w, axes=axes, constant=constant)) == ["matmul_transposed"]
    check(x, w, axes=axes, constant=constant)


@pytest.mark.parametrize(
    ("x", "w", "axes"),
    [
        (("n", "h", 70), (70, 45), (None, None)),
        (("n", "h", 70), ("n", 70, "w"), (None, None)),
        (("n", 1, "h", 7), (3, 7, "w"), (None, None)),
        (("n", "h", 3, 70), ("n", "w", 3, 70), ([0, 2, 1, 3], [0, 2, 3, 1])),
    ],
)
def test_symbolic_sizes(x, w, axes):
    check(x, w, axes=axes)


@pytest.mark.parametrize("dtype", ["float64", "int32", "int8", "int64", "uint8"])
def test_other_dtypes(dtype):
    check((2, 37, 70), (70, 45), dtype=dtype)
    check((2, 3, 70), (45, 70), dtype=dtype, axes=(None, [1, 0]))


def test_int8_products_are_added_up_in_int32_where_that_is_the_result():
    check((2, 37, 70), (70, 45), dtype="int8", out_dtype="int32")


@pytest.mark.parametrize("constant", ["", "x", "w"])
def test_half_precision(constant):
    check((2, 37, 70), (70, 45), dtype="float16", constant=constant)


@pytest.mark.parametrize("x", [(2, 37, 70), (1, 70), ("n", "h", 70), (70,)])
def test_a_bias_and_an_activation_are_fused(x):
    bias = relax.const(random_array((45,), seed=3))
    more = {"constant": "w", "then": lambda y: op.nn.gelu(op.add(bias, y))}
    assert patterns_of(function(x, (70, 45), **more)) == ["matmul_add_activation"]
    check(x, (70, 45), **more)


def test_a_bias_and_a_residual_are_fused():
    bias, residual = relax.const(random_array((45,), seed=3)), relax.const(random_array((2, 37, 45), seed=4))
    more = {"constant": "w", "then": lambda y: op.add(residual, op.add(y, bias))}
    assert patterns_of(function((2, 37, 70), (70, 45), **more)) == ["matmul_add_add"]
    check((2, 37, 70), (70, 45), **more)


def test_a_number_for_each_row_is_not_taken_for_a_bias():
    rows = relax.const(random_array((37, 1), seed=3))
    assert patterns_of(function((37, 70), (70, 45), then=lambda y: op.add(y, rows))) == ["matmul", "add"]


def test_a_transpose_that_is_read_elsewhere_stays_an_op():
    def body(x: Any, w: Any) -> Any:
        turned = op.permute_dims(w, [1, 0])
        return [op.matmul(x, turned), turned]

    built = relax_function(body, ((37, 70), F32), ((45, 70), F32))
    assert patterns_of(built) == ["permute_dims", "matmul"]


def test_a_batch_that_may_or_may_not_be_broadcast_is_refused():
    built = relax_function(lambda x, w: op.matmul(x, w), (("n", 5, 7), F32), (("k", 7, 4), F32))
    assert refusal_of(built) in (
        "the rank of a tensor is not known",
        "whether a batch is broadcast is known only at run time",
    )


@pytest.mark.parametrize("isa", ["avx512", "avx2", "portable"])
@pytest.mark.parametrize("rows", [1, 2, 3, 4])
@pytest.mark.parametrize("axes", [(None, None), (None, (0, 2, 1)), ((0, 2, 1), None)])
def test_products_of_few_rows_are_not_packed(isa, rows, axes):
    left, right = (3, rows, 50), (3, 50, 83)
    x, w = (((s[0], s[2], s[1]) if a else s) for s, a in zip((left, right), axes, strict=True))
    code = Compiled(function(x, w, axes=axes), isa=isa).source.code
    assert "csource_few_rows(&" in code and "csource_pack_columns(&" not in code
    check(x, w, axes=axes, isa=isa)


@pytest.mark.parametrize("rows", [1, 4, 5, 37])
@pytest.mark.parametrize("axes", [(None, None), (None, (0, 2, 1))])
def test_symbolic_rows_are_packed_only_when_there_are_many(rows, axes):
    w = (2, 83, 50) if axes[1] else (2, 50, 83)
    built = function((2, "n", 50), w, axes=axes, then=op.nn.relu)
    code = Compiled(built).source.code
    assert "csource_few_rows(&" in code and "csource_product(&" in code
    arrays = random_array((2, rows, 50)), random_array(w, seed=1)
    check_against_host(built, *arrays, rtol=1e-4, atol=1e-4)


def test_symbolic_columns_and_depth_with_few_rows():
    built = function((2, 3, "k"), (2, "k", "c"))
    compiled = Compiled(built)
    for depth, columns in ((1, 1), (50, 83), (0, 5)):
        left, right = random_array((2, 3, depth)), random_array((2, depth, columns), seed=1)
        np.testing.assert_allclose(compiled(left, right), left @ right, rtol=1e-4, atol=1e-4)
