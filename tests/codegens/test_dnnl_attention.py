"""dnnl: attention by one kernel, and the ops on integers around it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tvm import relax

from tests.codegens.dnnl_ops import Compiled, check_against_host, needs_onednn, refusal_of
from tests.codegens.ops import host, random_array, relax_function

pytestmark = needs_onednn
op = relax.op


def number(value: float) -> Any:
    return relax.const(np.float32(value))


def attention(q: Any, k: Any, v: Any, mask: Any = None, scale: float = 0.3) -> Any:
    scores = op.multiply(op.matmul(q, k), number(scale))
    return op.matmul(op.nn.softmax(scores if mask is None else op.add(scores, mask), -1), v)


SHAPES = pytest.mark.parametrize(
    ("q", "k", "v"),
    [
        ((2, 3, 40, 32), (2, 3, 32, 40), (2, 3, 40, 32)),
        ((1, 2, 29, 24), (1, 2, 24, 53), (1, 2, 53, 40)),
        ((1, 5, 1, 64), (1, 5, 64, 100), (1, 5, 100, 64)),
        ((3, 17, 16), (3, 16, 33), (3, 33, 16)),
        ((15, 7), (7, 18), (18, 3)),
        ((1, 4, 20, 16), (1, 1, 16, 31), (1, 1, 31, 16)),
        (("n", 2, "s", 16), ("n", 2, 16, "s"), ("n", 2, "s", 16)),
    ],
)
PRECISIONS = pytest.mark.parametrize(
    "precision",
    [
        "f32",
        pytest.param(
            "bf16",
            marks=pytest.mark.skipif(
                "avx512_bf16" not in Path("/proc/cpuinfo").read_text(), reason="the processor has no AVX-512 BF16"
            ),
        ),
    ],
)


def example(q: Any, k: Any, v: Any) -> tuple[Any, list[np.ndarray]]:
    """The function for these shapes, and numbers that bfloat16 holds exactly."""
    arrays = [random_array([{"n": 2, "s": 19}.get(d, d) for d in s], seed=i) for i, s in enumerate((q, k, v))]
    rounded = [(a.view("uint32") & np.uint32(0xFFFF0000)).view("float32") for a in arrays]
    return relax_function(attention, *((shape, "float32") for shape in (q, k, v))), rounded


@SHAPES
def test_it_agrees_with_the_host(q, k, v):
    function, arrays = example(q, k, v)
    check_against_host(function, *arrays, rtol=1e-4, atol=1e-5)


@SHAPES
def test_in_bfloat16_only_shares_and_results_are_rounded(q, k, v):
    function, arrays = example(q, k, v)
    most = max(1.0, float(np.abs(arrays[2]).max()))
    check_against_host(function, *arrays, rtol=2**-7, atol=most * 2**-8, precision="bf16")


@PRECISIONS
@pytest.mark.parametrize("mask", [(2, 1, 1, 27), (1, 1, 1, 27), (2, 3, 18, 27), (18, 27), (1, 1, 18, 1), (27,)])
def test_masks_are_repeated_as_in_numpy(mask, precision):
    shapes = [((2, 3, 18, 16), "float32"), ((2, 3, 16, 27), "float32"), ((2, 3, 27, 16), "float32"), (mask, "float32")]
    arrays = [random_array(shape, seed=i) for i, (shape, _) in enumerate(shapes)]
    arrays[3] = np.where(arrays[3] > 0.3, np.float32(-3.4e38), arrays[3]) if mask[-1] > 1 else arrays[3]
    near = {"rtol": 1e-4, "atol": 1e-5} if precision == "f32" else {"rtol": 2**-6, "atol": 2**-5}
    check_against_host(relax_function(attention, *shapes), *arrays, **near, precision=precision)


def split_heads(x: Any, scale: float = 1.0) -> Any:
    """As vision transformers write it: one product for query, key and value."""
    joint = op.matmul(x, relax.const(random_array((24, 72), seed=7), "float32"))
    parts = op.permute_dims(op.reshape(joint, (2, 21, 3, 3, 8)), (2, 0, 3, 1, 4))
    query, key, value = (op.take(parts, relax.const(i, "int64"), 0) for i in range(3))
    scores = op.matmul(op.multiply(query, number(0.4)), op.permute_dims(key, (0, 1, 3, 2)))
    context = op.matmul(op.nn.softmax(scores, -1), value)
    return op.reshape(op.permute_dims(context, (0, 2, 1, 3)), (2, 21, 24))


def test_heads_of_one_product_are_views_of_it():
    x = random_array((2, 21, 24))
    compiled = check_against_host(relax_function(split_heads, (x.shape, "float32")), x, rtol=1e-4, atol=1e-5)
    assert "gather" not in compiled.kinds


@PRECISIONS
def test_it_is_the_chain_where_something_else_reads_the_scores(precision):
    shapes = [((1, 2, 20, 16), "float32"), ((1, 2, 16, 20), "float32"), ((1, 2, 20, 16), "float32")]
    arrays = [random_array(shape, seed=i) for i, (shape, _) in enumerate(shapes)]

    def watched(q: Any, k: Any, v: Any) -> Any:
        shares = op.nn.softmax(op.multiply(op.matmul(q, k), number(0.3)), -1)
        return relax.Tuple([op.matmul(shares, v), shares])

    (alone,), (chain, _) = (
        Compiled(relax_function(body, *shapes), precision=precision)(*arrays) for body in (attention, watched)
    )
    near = {"rtol": 1e-5, "atol": 1e-6} if precision == "f32" else {"rtol": 2**-6, "atol": 2**-6}
    np.testing.assert_allclose(alone, chain, **near)
    assert not np.array_equal(alone, chain)


def test_numbers_that_are_none_stay_in_their_rows():
    q, k, v = (random_array(s, seed=i) for i, s in enumerate([(1, 1, 20, 16), (1, 1, 16, 20), (1, 1, 20, 16)]))
    q[0, 0, 3] = np.nan
    mask = np.zeros((20, 20), "float32")
    mask[5] = -np.inf
    mask[7, 4:] = -np.inf
    function = relax_function(attention, *((a.shape, "float32") for a in (q, k, v, mask)))
    (mine,) = Compiled(function)(q, k, v, mask)
    rows = [i for i in range(20) if i not in (3, 5)]
    np.testing.assert_allclose(mine[0, 0, rows], host(function, q, k, v, mask)[0, 0, rows], rtol=1e-4, atol=1e-5)
    assert np.isnan(mine[0, 0, [3, 5]]).all()


def test_large_scores_do_not_overflow():
    q, k, v = (random_array(s, seed=i) for i, s in enumerate([(2, 9, 16), (2, 16, 30), (2, 30, 16)]))
    function = relax_function(attention, *((a.shape, "float32") for a in (q, k, v)))
    check_against_host(function, q * 300, k, v, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("axis", [0, 1])
def test_rows_are_chosen_by_integers(dtype, axis):
    x, indices = random_array((7, 5, 3)), np.array([[4, 0, 3], [1, 2, 2]], dtype)
    function = relax_function(
        lambda a, i: op.multiply(op.take(a, i, axis), number(2)), (x.shape, "float32"), ((2, "n"), dtype)
    )
    check_against_host(function, x, indices)


def test_indices_that_lie_outside_become_those_at_the_edge():
    x = random_array((6, 4))
    function = relax_function(lambda a, i: op.take(a, i, 0, mode="clip"), (x.shape, "float32"), ((4,), "int64"))
    (mine,) = Compiled(function)(x, np.array([-3, 5, 9, 2**40]))
    np.testing.assert_array_equal(mine, x[[0, 5, 5, 5]])


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_a_mask_of_integers_becomes_floats(dtype):
    mask = np.array([[1, 1, 0], [1, 0, -7]], dtype)
    function = relax_function(
        lambda m: op.multiply(op.astype(op.expand_dims(m, [1, 2]), "float32"), number(-2)), (mask.shape, dtype)
    )
    check_against_host(function, mask)


def test_other_conversions_and_tables_of_integers_are_refused():
    cast = relax_function(lambda a: op.astype(a, "int32"), ((3,), "float32"))
    assert refusal_of(cast) == "turns int32 and int64 into float32 only, not float32 into int32"
    table = relax_function(lambda a, i: op.take(a, i, 0), ((3,), "int64"), ((2,), "int64"))
    assert refusal_of(table) == "takes float32 by int32 or int64, not int64 by int64"
