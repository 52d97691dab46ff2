"""Reductions, arg reductions, running sums, softmax and normalisation."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tests.codegens.ops import Compiled, check_against_host, random_array, refusal_of, relax_function

op = relax.op
F32 = "float32"
AXES = [None, [0], [1], [-1], [0, 2], [1, 3], [0, 1], [2, 3], [0, 1, 2, 3]]
NUMPY = {
    "sum": np.sum, "mean": np.mean, "prod": np.prod, "max": np.max, "min": np.min, "variance": np.var, "std": np.std,
}  # fmt: skip


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("name", NUMPY)
def test_a_reduction_over_any_axes_is_numpys(name, axes):
    x = random_array((3, 4, 5, 6)) + 1
    over = None if axes is None else tuple(axes)
    for keep in (False, True):
        function = relax_function(lambda x: getattr(op, name)(x, axes, keep), (x.shape, F32))  # noqa: B023
        wanted = NUMPY[name](x.astype(np.float64), axis=over, keepdims=keep)
        got = Compiled(function)(x)
        assert got.shape == np.shape(wanted)
        np.testing.assert_allclose(got, wanted, rtol=2e-5)


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "int64", "int8", "uint8"])
@pytest.mark.parametrize("name", ["sum", "prod", "max", "min"])
def test_a_reduction_keeps_its_dtype(name, dtype):
    x = random_array((4, 70), dtype)
    for axes in ([0], [1]):
        function = relax_function(lambda x: getattr(op, name)(x, axes), (x.shape, dtype))  # noqa: B023
        with np.errstate(over="ignore"):
            wanted = NUMPY[name](x, axis=axes[0], **({} if name in ("max", "min") else {"dtype": dtype}))
        np.testing.assert_allclose(Compiled(function)(x), wanted, rtol=1e-2 if dtype == "float16" else 1e-6)


@pytest.mark.parametrize(("shape", "axis"), [((2, 1001), 1), ((1001, 300), 0), ((7, 63, 513), 1), ((129,), 0)])
def test_long_reductions_in_lanes_and_blocks_miss_no_element(shape, axis):
    x = random_array(shape, "int32")
    function = relax_function(lambda x: [op.sum(x, axis), op.max(x, axis)], (shape, "int32"))
    total, most = Compiled(function)(x)
    np.testing.assert_array_equal(total, x.sum(axis, dtype=np.int32))
    np.testing.assert_array_equal(most, x.max(axis))


def test_reductions_of_symbolic_and_empty_dimensions():
    function = relax_function(lambda x: [op.sum(x, [1]), op.max(x, [1]), op.prod(x, [1])], (("n", "m", 3), F32))
    compiled = Compiled(function)
    for n, m in [(2, 5), (0, 3), (1, 1)]:
        x = random_array((n, m, 3))
        total, most, product = compiled(x)
        np.testing.assert_allclose(total, x.sum(1), rtol=1e-5)
        np.testing.assert_array_equal(most, x.max(1))
        np.testing.assert_allclose(product, x.prod(1), rtol=1e-5)
    total, most, product = compiled(random_array((2, 0, 3)))
    assert (total == 0).all() and (most == -np.inf).all() and (product == 1).all()


def test_reduction_of_a_scalar_is_the_scalar():
    function = relax_function(lambda x: [op.sum(x), op.max(x), op.mean(x)], ((), F32))
    assert [float(v) for v in Compiled(function)(np.float32(3).reshape(()))] == [3, 3, 3]


def test_max_and_min_pass_nan_wherever_it_stands():
    x = np.zeros((3, 100), F32)
    x[0, 0] = x[1, 99] = x[2, 70] = np.nan
    function = relax_function(lambda x: [op.max(x, 1), op.min(x, 1), op.max(x, 0)], (x.shape, F32))
    most, least, columns = Compiled(function)(x)
    assert np.isnan(most).all() and np.isnan(least).all()
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(columns)), [0, 70, 99])


def test_mean_of_integers_cuts_towards_zero():
    x = np.array([[-3, -4], [3, 4]], np.int32)
    assert Compiled(relax_function(lambda x: op.mean(x, 1), (x.shape, "int32")))(x).tolist() == [-3, 3]


def test_variance_of_bools_is_refused():
    with pytest.raises(AssertionError):
        refusal_of(relax_function(lambda x: op.max(x, 0), ((3,), "bool")))
    assert refusal_of(relax_function(lambda x: op.variance(x, 0), ((3,), "int32"))) == "variance of int32 is not done"


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("dtype", ["float32", "int64", "float16", "uint8"])
def test_argmax_and_argmin_give_the_first_place(axis, dtype):
    x = random_array((4, 5, 6), dtype)
    for keep in (False, True):
        body = lambda x: [op.argmax(x, axis, keep), op.argmin(x, axis, keep)]  # noqa: B023, E731
        most, least = Compiled(relax_function(body, (x.shape, dtype)))(x)
        np.testing.assert_array_equal(most, np.argmax(x, axis, keepdims=keep))
        np.testing.assert_array_equal(least, np.argmin(x, axis, keepdims=keep))


@pytest.mark.parametrize(("name", "numpy"), [("cumsum", np.cumsum), ("cumprod", np.cumprod)])
@pytest.mark.parametrize("axis", [0, 1, -1, None])
def test_running_sums_and_products(name, numpy, axis):
    x = random_array((3, 4, 5), "int32")
    function = relax_function(lambda x: getattr(op, name)(x, axis), (x.shape, "int32"))
    np.testing.assert_array_equal(Compiled(function)(x), numpy(x, axis, dtype=np.int32))


def test_an_exclusive_running_sum_starts_at_zero_and_converts():
    x = np.array([[1, 2, 3]], np.int32)
    function = relax_function(lambda x: op.cumsum(x, 1, "float32", exclusive=True), (x.shape, "int32"))
    got = Compiled(function)(x)
    assert got.dtype == np.float32 and got.tolist() == [[0, 1, 3]]


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_along_any_axis(name, axis, dtype):
    x = random_array((3, 70, 67), dtype) * 3
    e = np.exp(x.astype(np.float64) - x.max(axis, keepdims=True))
    wanted = e / e.sum(axis, keepdims=True)
    wanted = np.log(wanted) if name == "log_softmax" else wanted
    got = Compiled(relax_function(lambda x: getattr(op.nn, name)(x, axis), (x.shape, dtype)))(x)
    assert got.dtype == dtype
    tolerance = 2e-3 if dtype == "float16" else 1e-5
    np.testing.assert_allclose(
        got, wanted, rtol=tolerance, atol=tolerance / 5 if name == "log_softmax" else tolerance * 1e-3
    )


def test_softmax_of_huge_numbers_masks_and_symbols():
    compiled = Compiled(relax_function(lambda x: op.nn.softmax(x, -1), (("n", "m"), F32)))
    np.testing.assert_allclose(compiled(np.array([[1e30, 1e30], [-np.inf, 0]], F32)), [[0.5, 0.5], [0, 1]])
    assert compiled(np.zeros((0, 3), F32)).shape == (0, 3)
    assert np.isnan(compiled(np.full((1, 2), -np.inf, F32))).all()


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("axes", [[-1], [1, 2]])
def test_layer_norm_agrees_with_its_definition(axes, dtype):
    x = random_array((5, 7, 90), dtype) + 3
    tail = x.shape[1:] if len(axes) == 2 else x.shape[2:]
    gamma, beta = random_array(tail, dtype, 1), random_array(tail, dtype, 2)
    over = tuple(range(3 - len(axes), 3))
    y = x.astype(np.float64)
    wanted = (y - y.mean(over, keepdims=True)) / np.sqrt(y.var(over, keepdims=True) + 1e-5) * gamma + beta
    function = relax_function(
        lambda x, g, b: op.nn.layer_norm(x, g, b, axes), *((a.shape, dtype) for a in (x, gamma, beta))
    )
    tolerance = 1e-2 if dtype == "float16" else 1e-5
    np.testing.assert_allclose(Compiled(function)(x, gamma, beta), wanted, rtol=tolerance, atol=tolerance)


def test_layer_norm_of_large_offsets_does_not_cancel():
    x = (random_array((2, 256)) + 1e4).astype(F32)
    one, zero = np.ones(256, F32), np.zeros(256, F32)
    y = x.astype(np.float64)
    wanted = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-5)
    function = relax_function(
        lambda x, g, b: op.nn.layer_norm(x, g, b, [-1]), *[(a.shape, F32) for a in (x, one, zero)]
    )
    np.testing.assert_allclose(Compiled(function)(x, one, zero), wanted, atol=2e-3)


def test_statistics_of_very_long_rows_keep_their_digits():
    x = (random_array((1, 2, 700, 700)) + 30).astype(F32)
    one, zero = np.ones(2, F32), np.zeros(2, F32)
    y = x.astype(np.float64)
    wanted = (y - y.mean((2, 3), keepdims=True)) / np.sqrt(y.var((2, 3), keepdims=True) + 1e-5)

    def body(x, g, b):
        return [op.nn.instance_norm(x, g, b, 1, [2, 3]), op.mean(x, [2, 3]), op.variance(x, [2, 3])]

    norm, mean, variance = Compiled(relax_function(body, (x.shape, F32), ((2,), F32), ((2,), F32)))(x, one, zero)
    np.testing.assert_allclose(norm, wanted, atol=1e-5)
    np.testing.assert_allclose(mean, y.mean((2, 3)), rtol=2e-7)
    np.testing.assert_allclose(variance, y.var((2, 3)), rtol=1e-6)


def test_layer_norm_over_leading_axes_is_refused():
    function = relax_function(lambda x, g, b: op.nn.layer_norm(x, g, b, [0]), ((4, 3), F32), ((4,), F32), ((4,), F32))
    assert "only over the last ones" in refusal_of(function)


def test_rms_norm_agrees_with_its_definition():
    x, weight = random_array((4, 33)), random_array((33,), seed=1)
    wanted = x / np.sqrt((x.astype(np.float64) ** 2).mean(-1, keepdims=True) + 1e-5) * weight
    function = relax_function(lambda x, w: op.nn.rms_norm(x, w, [-1]), (("n", 33), F32), ((33,), F32))
    np.testing.assert_allclose(Compiled(function)(x, weight), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_norm_normalises_each_group(groups, dtype):
    x, gamma, beta = random_array((2, 6, 5, 3), dtype), random_array((6,), dtype, 1), random_array((6,), dtype, 2)
    y = x.astype(np.float64).reshape(2, groups, -1)
    y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-5)
    wanted = y.reshape(x.shape) * gamma.reshape(6, 1, 1) + beta.reshape(6, 1, 1)
    function = relax_function(
        lambda x, g, b: op.nn.group_norm(x, g, b, groups, 1, [2, 3]), *((a.shape, dtype) for a in (x, gamma, beta))
    )
    tolerance = 1e-2 if dtype == "float16" else 1e-5
    np.testing.assert_allclose(Compiled(function)(x, gamma, beta), wanted, rtol=tolerance, atol=tolerance)


def test_instance_norm_normalises_each_channel_of_symbolic_size():
    x, gamma, beta = random_array((2, 3, 4, 5)), random_array((3,), seed=1), random_array((3,), seed=2)
    y = x.astype(np.float64)
    wanted = (y - y.mean((2, 3), keepdims=True)) / np.sqrt(y.var((2, 3), keepdims=True) + 1e-5)
    wanted = wanted * gamma.reshape(3, 1, 1) + beta.reshape(3, 1, 1)
    function = relax_function(
        lambda x, g, b: op.nn.instance_norm(x, g, b, 1, [2, 3]), (("n", 3, "h", "w"), F32), ((3,), F32), ((3,), F32)
    )
    np.testing.assert_allclose(Compiled(function)(x, gamma, beta), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("shape", "axis"), [((2, 3, 4, 5), 1), ((2, 4, 3), 2), ((5, 3), 1)])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_batch_norm_at_inference(shape, axis, dtype):
    x = random_array(shape, dtype)
    gamma, beta, mean = (random_array((3,), dtype, seed) for seed in (1, 2, 3))
    variance = np.abs(random_array((3,), dtype, 4)) + np.asarray(0.5, dtype)
    place = [-1 if i == axis else 1 for i in range(len(shape))]
    g, b, mu, v = (a.astype(np.float64).reshape(place) for a in (gamma, beta, mean, variance))
    wanted = (x - mu) / np.sqrt(v + 1e-5) * g + b
    body = lambda *a: op.nn.batch_norm(*a, axis, training=False)  # noqa: E731
    arrays = (x, gamma, beta, mean, variance)
    got, same_mean, same_variance = Compiled(relax_function(body, *((a.shape, dtype) for a in arrays)))(*arrays)
    tolerance = 1e-2 if dtype == "float16" else 1e-5
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(same_mean, mean)
    np.testing.assert_array_equal(same_variance, variance)


def test_reductions_agree_with_the_host_on_a_conv_sized_tensor():
    x = random_array((1, 8, 14, 14))
    check_against_host(relax_function(lambda x: op.mean(x, [2, 3], True), (x.shape, F32)), x)
