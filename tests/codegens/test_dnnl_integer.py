"""dnnl on 8-bit integers: at most one step from the exact reference, on at most one element of a thousand."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

import byoc
from byoc.ops import call
from byoc.ops.integer_reference import (
    dynamic_quantize,
    matmul_integer,
    qlinear_add,
    qlinear_average_pool,
    qlinear_conv,
    qlinear_matmul,
    qlinear_mean,
    requantize,
)
from byoc.quant import quantize
from byoc.quant.fixed_point import fixed_point
from tests.codegens.dnnl_ops import Compiled, needs_onednn, refusal_of
from tests.codegens.ops import host, relax_function
from tests.codegens.test_csource_integer import (
    CONVOLUTIONS,
    conv_attrs,
    conv_reference,
    excluding_padding,
    integers,
    rounded,
    rounding,
)
from tests.float_models import images, small_cnn

pytestmark = needs_onednn


def assert_within_a_step(mine: np.ndarray, wanted: np.ndarray, share: float = 1e-3) -> None:
    assert mine.dtype == wanted.dtype and mine.shape == wanted.shape
    apart = np.abs(mine.astype("int64") - wanted.astype("int64"))
    assert apart.max(initial=0) <= 1
    assert np.count_nonzero(apart) <= max(1, apart.size * share)


def compiled(op, attrs: dict, constants, *shapes) -> Compiled:
    def body(*inputs):
        return call(op, [*inputs, *(relax.const(c, c.dtype.name) for c in constants)], attrs)

    return Compiled(relax_function(body, *shapes))


def add_attrs(factors, out: str, zeros=(0, 0, 0), low: int | None = None) -> dict:
    (shift,) = fixed_point([max(factors)], 21).shift
    return {
        "a_zero": zeros[0], "b_zero": zeros[1], **rounding([1.0], out, zeros[2], low=low),
        "multiplier": tuple(round(f * 2.0**shift) for f in factors), "shift": (shift,),
    }  # fmt: skip


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("zeros", [(0, 0), (7, 3)])
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions_agree_with_the_reference(case, zeros, dtype):
    shape, weight, attrs = CONVOLUTIONS[case]
    x, w, bias = integers(shape, dtype), integers(weight, "int8", 1), integers(weight[:1], "int16", 2).astype("int32")
    taps = int(np.prod(weight[1:]))
    factors = np.linspace(0.1, 2, weight[0]) / (60 * taps**0.5)
    attrs = {**attrs, "x_zero": zeros[0], **rounding(factors, dtype, zeros[1])}
    assert_within_a_step(
        compiled(qlinear_conv, attrs, (w, bias), (shape, dtype))(x)[0], conv_reference(x, w, bias, attrs)
    )


@pytest.mark.parametrize("zero", [0, -5])
@pytest.mark.parametrize("shape", [(1, 64), (9, 37), (2, 5, 32), (16,)])
def test_products_agree_with_the_reference(shape, zero):
    x, w = integers(shape, "int8"), integers((shape[-1], 70), "int8", 1)
    bias = integers((70,), "int16", 2).astype("int32")
    attrs = {"x_zero": zero, **rounding(np.linspace(0.5, 2, 70) / 3000, "int8", -2)}
    mine = compiled(qlinear_matmul, attrs, (w, bias), (shape, "int8"))(x)[0]
    assert_within_a_step(mine, rounded((x.astype("int64") - zero) @ w + bias, attrs))


def test_ties_go_to_the_even_integer_before_an_odd_zero_point_is_added():
    x, w, bias = np.arange(-128, 128, dtype="int8").reshape(-1, 1), np.ones((1, 1), "int8"), np.zeros(1, "int32")
    attrs = {"x_zero": 0, **rounding([0.5], "int8", 3)}
    mine = compiled(qlinear_matmul, attrs, (w, bias), (x.shape, "int8"))(x)[0]
    assert np.array_equal(mine, np.rint(x / 2).astype("int8") + 3)


@pytest.mark.parametrize("types", [("uint8", "int8", "int8"), ("int8", "int8", "uint8"), ("uint8", "uint8", "uint8")])
@pytest.mark.parametrize(
    ("factors", "zeros"), [((0.7071, 0.3183), (2, 1, 3)), ((1.0, 1.0), (0, 0, 0)), ((0.1037, 2), (3, -3, 0))]
)
def test_sums_agree_with_the_reference(types, factors, zeros):
    a, b = integers((2, 5, 8, 9), types[0]), integers((2, 5, 8, 9), types[1], 1)
    attrs = add_attrs(factors, types[2], zeros)
    mine = compiled(qlinear_add, attrs, (), (a.shape, types[0]), (b.shape, types[1]))(a, b)[0]
    total = (a.astype("int64") - zeros[0]) * attrs["multiplier"][0]
    total += (b.astype("int64") - zeros[1]) * attrs["multiplier"][1]
    assert_within_a_step(mine, rounded(total, attrs | {"multiplier": (1,)}))


@pytest.mark.parametrize(("dtype", "out"), [("uint8", "int8"), ("int8", "uint8"), ("int8", "int8")])
@pytest.mark.parametrize("zero", [0, 9])
def test_changes_of_scale_agree_with_the_reference(dtype, out, zero):
    x = integers((2, 3, 17), dtype)
    attrs = {"x_zero": 4, **rounding([0.3719], out, zero)}
    assert_within_a_step(compiled(requantize, attrs, (), (x.shape, dtype))(x)[0], rounded(x.astype("int64") - 4, attrs))


@pytest.mark.parametrize("keepdims", [True, False])
def test_means_over_images_agree_with_the_reference(keepdims):
    x = integers((2, 5, 7, 9), "uint8")
    attrs = {"x_zero": 3, "axes": (2, 3), "keepdims": keepdims, **rounding([0.8 / 63], "uint8", 1)}
    mine = compiled(qlinear_mean, attrs, (), (x.shape, "uint8"))(x)[0]
    assert_within_a_step(mine, rounded((x.astype("int64") - 3).sum((2, 3), keepdims=keepdims), attrs))


def test_averages_over_windows_agree_with_the_reference():
    x = integers((2, 3, 8, 9), "int8")
    attrs = {"x_zero": -3, "pool_size": (2, 3), "strides": (2, 3), "padding": (0, 0, 0, 0)}
    attrs |= rounding([0.1523], "int8")
    total = (x.astype("int64") + 3).reshape(2, 3, 4, 2, 3, 3).sum((3, 5))
    assert_within_a_step(compiled(qlinear_average_pool, attrs, (), (x.shape, "int8"))(x)[0], rounded(total, attrs))


@pytest.mark.parametrize(("dtype", "out"), [("int8", "int8"), ("uint8", "uint8"), ("uint8", "int8"), ("int8", "uint8")])
def test_averages_without_padding_divide_by_what_they_count(dtype, out):
    x = integers((2, 3, 7, 9), dtype)
    wanted, attrs = excluding_padding(x, 5, out)
    assert_within_a_step(compiled(qlinear_average_pool, attrs, (), (x.shape, dtype))(x)[0], wanted)


def test_averages_that_count_padding_with_a_zero_point_are_refused():
    attrs = {"x_zero": 3, "pool_size": (2, 2), "strides": (2, 2), "padding": (1, 1, 1, 1), **rounding([0.2], "int8")}
    function = relax_function(lambda x: call(qlinear_average_pool, [x], attrs), ((1, 2, 4, 4), "int8"))
    assert refusal_of(function) == "averages that count padding must have zero point 0"


@pytest.mark.parametrize(("largest", "taken"), [(64, True), (-64, True), (65, False), (-128, False)])
def test_weights_that_overflow_16_bits_in_pairs_need_vnni(largest, taken, monkeypatch):
    monkeypatch.setattr("byoc_codegens.dnnl.processor.has_vnni", lambda: False)
    weights = np.array([[largest], [3], [-5]], "int8")
    constants = (relax.const(weights), relax.const(np.zeros(1, "int32")))
    attrs = {"x_zero": 0, **rounding([0.1], "int8")}
    function = relax_function(lambda x: call(qlinear_matmul, [x, *constants], attrs), ((20, 3), "int8"))
    if taken:
        with pytest.raises(AssertionError, match="dnnl takes it"):
            refusal_of(function)
    else:
        assert refusal_of(function) == (
            "without VNNI oneDNN adds pairs of 8-bit products in 16 bits, which weights beyond -64..64 overflow"
        )


def test_sixteen_bits_are_refused():
    attrs = {"x_zero": 0, **rounding([0.2], "int16")}
    function = relax_function(lambda x: call(requantize, [x], attrs), ((4,), "int16"))
    assert refusal_of(function) == "takes int8 and uint8 tensors, not int16"


def residual_block(x, seed: int, factors=(0.6131, 0.6131), zeros=(0, 0, 0), low: int | None = None):
    """Two convolutions, whose result is added to what a third one gives."""

    def conv(x, seed: int, out: str, zero: int = 0):
        w, bias = integers((8, 8, 3, 3), "int8", seed), integers((8,), "int8", seed + 1).astype("int32")
        attrs = conv_attrs(2, padding=(1, 1, 1, 1)) | rounding(np.linspace(0.5, 1, 8) / 1500, out, zero)
        return call(qlinear_conv, [x, relax.const(w, "int8"), relax.const(bias, "int32")], attrs)

    start = conv(x, seed, "uint8")
    inner = conv(conv(start, seed + 2, "uint8"), seed + 4, "int8", zeros[0])
    return call(qlinear_add, [inner, start], add_attrs(factors, "uint8", zeros, low))


@pytest.mark.parametrize("factors", [(0.6131, 0.6131), (1.0, 1.0), (0.3183, 0.9093)])
@pytest.mark.parametrize("zeros", [(0, 0, 0), (3, 2, 5)])
def test_a_residual_is_added_by_the_convolution(factors, zeros):
    function = relax_function(lambda x: residual_block(x, 1, factors, zeros, low=zeros[2]), ((2, 8, 10, 10), "int8"))
    x, ours = integers((2, 8, 10, 10), "int8"), Compiled(function)
    assert len(ours.program.ops) == 3 and "sum" in ours.kinds[-1]
    assert_within_a_step(ours(x)[0], host(function, x))


def test_a_convolution_that_its_sum_enlarges_is_rounded_by_itself():
    """A step that it is off would become two steps of the sum."""
    function = relax_function(lambda x: residual_block(x, 1, (1.6, 0.4)), ((2, 8, 10, 10), "int8"))
    x, ours = integers((2, 8, 10, 10), "int8"), Compiled(function)
    assert [op.kind for op in ours.program.ops] == ["convolution", "convolution", "convolution", "binary"]
    assert_within_a_step(ours(x)[0], host(function, x))


def test_a_residual_that_is_read_later_is_not_overwritten():
    def body(x):
        first = residual_block(x, 1)
        return call(qlinear_add, [residual_block(first, 20), first], add_attrs((0.5, 0.5), "uint8"))

    function = relax_function(body, ((1, 8, 9, 9), "uint8"))
    x = integers((1, 8, 9, 9), "uint8")
    assert_within_a_step(Compiled(function)(x)[0], host(function, x), share=0.01)


@pytest.mark.parametrize("keywords", [{}, {"per_channel": False}, {"power_of_two": True}])
def test_a_quantised_model_is_one_partition_and_agrees_with_the_host(keywords):
    model = quantize(small_cnn(), {"x": images()}, **keywords).proto
    plan = byoc.partition(model, ["dnnl"])
    assert plan.coverage()["host"][0] == 0 and sum(len(f.partitions) for f in plan.functions) == 1
    x = images(4, seed=2)
    mine, exact = (
        next(iter(byoc.Session(byoc.compile(model, t, use_cache=False, shapes={"x": x.shape})).run({"x": x}).values()))
        for t in (["dnnl"], [])
    )
    step = np.unique(np.abs(exact))[1:2].min(initial=np.abs(exact).max())
    assert np.abs(mine - exact).max() <= 1.01 * step


@pytest.mark.parametrize("shape", [(1, 3, 9, 7), (2, 3, 4, 4), (1, 1, 5, 5)])
@pytest.mark.parametrize(("dtype", "zero"), [("int8", 0), ("int8", -3), ("uint8", 0), ("uint8", 128)])
def test_images_are_quantised_as_the_reference_does(shape, dtype, zero):
    def body(x):
        return relax.op.quantize(x, relax.const(np.float32(0.05)), relax.const(np.array(zero, dtype)), out_dtype=dtype)

    x = np.random.default_rng(0).standard_normal(shape).astype("float32") * 4
    x.flat[:3] = [1e30, -1e30, 0.025]
    (mine,) = Compiled(relax_function(body, (shape, "float32")))(x)
    limits = np.iinfo(dtype)
    wanted = np.clip(np.rint(x / np.float32(0.05)) + zero, limits.min, limits.max).astype(dtype)
    assert_within_a_step(mine, wanted, 0.01)


@pytest.mark.parametrize("rows", [1, 3, 17])
def test_products_of_few_rows_are_exact_to_a_step(rows):
    w, x = integers((70, 37), "int8", 1), integers((rows, 70), "uint8")
    bias = np.arange(-500, 425, 25, dtype="int32")
    attrs = {"x_zero": 5, **rounding([0.001] * 37, "uint8", 3)}
    (mine,) = compiled(qlinear_matmul, attrs, [w, bias], (x.shape, "uint8"))(x)
    assert_within_a_step(mine, rounded((x.astype("int64") - 5) @ w + bias, attrs))


@pytest.mark.parametrize("shape", [(1, 7, 40), (33, 40), (2, 3, 40)])
@pytest.mark.parametrize("offset", [0.0, 1.5, -3.0])
def test_data_quantised_at_run_time_is_multiplied_in_integers(shape, offset):
    w = integers((40, 19), "int8", 3)
    w_scale, bias = np.linspace(0.001, 0.02, 19, dtype="float32"), np.linspace(-1, 1, 19, dtype="float32")

    def body(x):
        parts = call(dynamic_quantize, [x], {})
        bytes_, scale, zero = (relax.TupleGetItem(parts, i) for i in range(3))
        floats = relax.op.astype(call(matmul_integer, [bytes_, zero, relax.const(w)], {}), "float32")
        scales = relax.op.multiply(scale, relax.const(w_scale))
        return relax.op.nn.gelu(relax.op.add(relax.op.multiply(floats, scales), relax.const(bias)))

    x = np.random.default_rng(4).standard_normal(shape).astype("float32") + np.float32(offset)
    function = relax_function(body, (shape, "float32"))
    compiled = Compiled(function)
    np.testing.assert_allclose(compiled(x)[0], host(function, x), rtol=1e-5, atol=2e-5)
    zeros = np.zeros(shape, "float32")
    np.testing.assert_allclose(compiled(zeros)[0], host(function, zeros), rtol=1e-5, atol=2e-5)
