"""Element-wise ops, comparisons, choice and conversion between dtypes."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tests.codegens.ops import Compiled, check_against_host, host, random_array, refusal_of, relax_function

op = relax.op
FLOAT_UNARY = ["abs", "negative", "sign", "square", "exp", "erf", "tanh", "sigmoid", "sin", "cos", "tan", "atan"]
FLOAT_UNARY += ["sinh", "cosh", "asinh", "floor", "ceil", "trunc", "nn.relu", "nn.gelu", "nn.gelu_tanh", "nn.silu"]
FLOAT_UNARY += ["nn.selu", "nn.softplus", "nn.leakyrelu"]


def relax_op(name: str) -> object:
    found: object = op
    for part in name.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("name", FLOAT_UNARY)
def test_a_unary_op_agrees_with_the_host_in_every_precision(name):
    x = random_array((3, 37), "float16") * 2
    wanted = host(relax_function(relax_op(name), ((3, 37), "float32")), x.astype("float32"))
    for dtype, tolerance in [("float32", 1e-5), ("float64", 1e-5), ("float16", 1e-3)]:
        got = Compiled(relax_function(relax_op(name), ((3, 37), dtype)))(x.astype(dtype))
        assert got.dtype == dtype
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["sqrt", "rsqrt", "log", "acosh"])
def test_an_op_of_positive_numbers_agrees_with_the_host(name):
    x = np.abs(random_array((50,))) + 1.5
    check_against_host(relax_function(relax_op(name), ((50,), "float32")), x)


@pytest.mark.parametrize("name", ["asin", "acos", "atanh"])
def test_an_op_of_numbers_below_one_agrees_with_numpy(name):
    x = random_array((50,)) / 5
    wanted = {"asin": np.arcsin, "acos": np.arccos, "atanh": np.arctanh}[name](x)
    np.testing.assert_allclose(Compiled(relax_function(relax_op(name), ((50,), "float32")))(x), wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "function", "numbers"),
    [
        ("exp", np.exp, np.linspace(-110, 88, 3001)),
        ("tanh", np.tanh, np.linspace(-12, 12, 3001)),
        ("log", np.log, np.geomspace(1e-44, 3e38, 3001)),
        ("sigmoid", lambda x: 1 / (1 + np.exp(-x)), np.linspace(-86, 86, 3001)),
    ],
)
def test_own_functions_are_within_three_units_in_the_last_place(name, function, numbers):
    x = numbers.astype(np.float32)
    wanted = function(x.astype(np.float64)).astype(np.float32)
    got = Compiled(relax_function(relax_op(name), ((3001,), "float32")))(x)
    assert np.all(np.abs(got - wanted) <= 3 * np.spacing(np.abs(wanted)))


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("exp", [np.nan, np.inf, 0, 1]),
        ("log", [np.nan, np.inf, np.nan, -np.inf]),
        ("tanh", [np.nan, 1, -1, 0]),
        ("erf", [np.nan, 1, -1, 0]),
        ("sigmoid", [np.nan, 1, 0, 0.5]),
        ("nn.relu", [np.nan, np.inf, 0, 0]),
        ("nn.softplus", [np.nan, np.inf, 0, np.log(2)]),
        ("isnan", [True, False, False, False]),
        ("isinf", [False, True, True, False]),
        ("isfinite", [False, False, False, True]),
    ],
)
def test_nan_and_infinities_behave_as_in_ieee_arithmetic(name, wanted):
    x = np.array([np.nan, np.inf, -np.inf, 0], np.float32)
    np.testing.assert_allclose(Compiled(relax_function(relax_op(name), ((4,), "float32")))(x), wanted, rtol=1e-6)


def test_round_goes_half_to_even():
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 2.4, 2.6], np.float32)
    np.testing.assert_array_equal(Compiled(relax_function(op.round, ((7,), "float32")))(x), [0, 2, 2, 0, -2, 2, 3])


SHAPES = [
    ((2, 3, 4), (2, 3, 4)),
    ((2, 3, 4), (4,)),
    ((2, 3, 4), (3, 1)),
    ((2, 1, 4), (1, 3, 1)),
    ((), (5,)),
    ((), ()),
    ((2, 3, 1, 5), (3, 4, 1)),
    ((0, 3), (3,)),
    ((2, 0), (1, 1)),
    ((1, 1), (1,)),
    ((2, 3, 4, 5, 6), (3, 1, 5, 1)),
]


@pytest.mark.parametrize(("left", "right"), SHAPES)
def test_operands_of_any_two_fitting_shapes_are_broadcast(left, right):
    x, y = random_array(left), random_array(right, seed=1)
    function = relax_function(op.subtract, (left, "float32"), (right, "float32"))
    np.testing.assert_array_equal(Compiled(function)(x, y), x - y)
    flipped = relax_function(lambda a, b: op.subtract(b, a), (left, "float32"), (right, "float32"))
    np.testing.assert_array_equal(Compiled(flipped)(x, y), y - x)


def test_large_tensors_are_computed_in_parallel_pieces_that_cut_rows():
    x, y = random_array((3, 70001)), random_array((3, 1), seed=1)
    function = relax_function(op.add, ((3, 70001), "float32"), ((3, 1), "float32"))
    np.testing.assert_array_equal(Compiled(function)(x, y), x + y)


def test_symbolic_dimensions_are_read_at_run_time():
    function = relax_function(op.multiply, (("n", 3, "m"), "float32"), (("m",), "float32"))
    compiled = Compiled(function)
    for n, m in [(1, 1), (4, 5), (0, 2), (2, 0)]:
        x, y = random_array((n, 3, m)), random_array((m,), seed=1)
        np.testing.assert_array_equal(compiled(x, y), x * y)


NUMBERS = ["add", "subtract", "multiply", "divide", "floor_divide", "mod", "floor_mod", "maximum", "minimum"]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "int8", "uint8"])
@pytest.mark.parametrize("name", NUMBERS)
def test_a_binary_op_agrees_with_the_host(name, dtype):
    y = random_array((4, 6), dtype, seed=1)
    y[y == 0] = 3
    function = relax_function(relax_op(name), ((4, 6), dtype), ((4, 6), dtype))
    check_against_host(function, random_array((4, 6), dtype), y)


def test_integer_division_by_zero_gives_zero_instead_of_a_crash():
    function = relax_function(lambda x, y: [op.divide(x, y), op.floor_mod(x, y)], *[((3,), "int32")] * 2)
    x, y = np.array([5, -(2**31), -7], np.int32), np.array([0, -1, 2], np.int32)
    quotient, remainder = Compiled(function)(x, y)
    np.testing.assert_array_equal(quotient, [0, -(2**31), -3])
    np.testing.assert_array_equal(remainder, [0, 0, 1])


def test_maximum_and_minimum_pass_nan_from_either_side():
    function = relax_function(lambda x, y: [op.maximum(x, y), op.minimum(x, y)], *[((3,), "float32")] * 2)
    x, y = np.array([np.nan, 1, 2], np.float32), np.array([1, np.nan, 3], np.float32)
    most, least = Compiled(function)(x, y)
    np.testing.assert_array_equal(most, [np.nan, np.nan, 3])
    np.testing.assert_array_equal(least, [np.nan, np.nan, 2])


@pytest.mark.parametrize("exponent", [2.0, 3.0, 0.25, 0.5, 0.75, 1.5, -0.5, -1.0, 1.7])
def test_power_by_a_constant_is_the_power(exponent):
    x = np.abs(random_array((20,))) + 0.1
    function = relax_function(lambda x: op.power(x, relax.const(exponent, "float32")), ((20,), "float32"))
    np.testing.assert_allclose(Compiled(function)(x), x**exponent, rtol=1e-6)


def test_power_of_integers():
    function = relax_function(op.power, ((4,), "int64"), ((4,), "int64"))
    x, y = np.array([3, -2, 0, 5]), np.array([4, 5, 0, -1])
    np.testing.assert_array_equal(Compiled(function)(x, y), [81, -32, 1, 0])


@pytest.mark.parametrize("dtype", ["float32", "int32", "float16", "uint8"])
@pytest.mark.parametrize("name", ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"])
def test_comparisons_give_bools(name, dtype):
    x, y = (random_array((5, 1), dtype), random_array((1, 6), dtype, seed=1))
    check_against_host(relax_function(relax_op(name), ((5, 1), dtype), ((1, 6), dtype)), x, y)


@pytest.mark.parametrize("name", ["logical_and", "logical_or", "logical_xor"])
def test_logic_of_bools(name):
    x, y = random_array((9,), "bool"), random_array((9,), "bool", seed=1)
    check_against_host(relax_function(relax_op(name), ((9,), "bool"), ((9,), "bool")), x, y)


def test_logical_not_flips_a_bool():
    function = relax_function(op.logical_not, ((2,), "bool"))
    np.testing.assert_array_equal(Compiled(function)(np.array([True, False])), [False, True])


@pytest.mark.parametrize("name", ["bitwise_and", "bitwise_or", "bitwise_xor"])
def test_bitwise_ops_of_integers(name):
    x, y = random_array((9,), "int32"), random_array((9,), "int32", seed=1)
    check_against_host(relax_function(relax_op(name), ((9,), "int32"), ((9,), "int32")), x, y)


def test_shifts_by_more_than_the_width_are_defined():
    function = relax_function(lambda x, y: [op.left_shift(x, y), op.right_shift(x, y)], *[((4,), "int32")] * 2)
    left, right = Compiled(function)(np.array([1, 3, -8, -8], np.int32), np.array([4, 40, 1, 40], np.int32))
    np.testing.assert_array_equal(left, [16, 0, -16, 0])
    np.testing.assert_array_equal(right, [0, 0, -4, -1])


@pytest.mark.parametrize("shapes", [((4, 5),) * 3, ((5,), (4, 5), ()), ((4, 1), (), (1, 5)), ((), (3,), (3,))])
@pytest.mark.parametrize("dtype", ["float32", "int64", "float16"])
def test_where_chooses_between_broadcast_operands(shapes, dtype):
    arrays = [random_array(s, d, seed=i) for i, (s, d) in enumerate(zip(shapes, ["bool", dtype, dtype], strict=True))]
    function = relax_function(op.where, *((a.shape, str(a.dtype)) for a in arrays))
    np.testing.assert_array_equal(Compiled(function)(*arrays), np.where(*arrays))


@pytest.mark.parametrize(
    ("dtype", "low", "high"), [("float32", -0.5, 0.5), ("int32", -2, 3), ("uint8", -4, 5.0), ("int8", -1e9, 3)]
)
def test_clip_keeps_to_its_limits(dtype, low, high):
    x = random_array((3, 7), dtype)
    function = relax_function(lambda x: op.clip(x, low, high), ((3, 7), dtype))
    np.testing.assert_array_equal(Compiled(function)(x), np.clip(x.astype(np.float64), low, high).astype(dtype))


def test_two_clips_with_different_limits_stay_apart():
    function = relax_function(lambda x: [op.clip(x, 0, 6), op.clip(x, 0, 1)], ((3,), "float32"))
    six, one = Compiled(function)(np.array([-1, 3, 9], np.float32))
    assert six.tolist() == [0, 3, 6] and one.tolist() == [0, 1, 1]


@pytest.mark.parametrize(("shape", "slopes", "axis"), [((2, 3, 4, 5), 3, 1), ((2, 3, 4), 1, 1), ((6, 4), 4, -1)])
def test_prelu_takes_a_slope_for_each_channel(shape, slopes, axis):
    x, slope = random_array(shape), np.abs(random_array((slopes,), seed=1))
    function = relax_function(lambda x, s: op.nn.prelu(x, s, axis), (shape, "float32"), ((slopes,), "float32"))
    place = [1] * len(shape)
    place[axis] = slopes
    np.testing.assert_array_equal(Compiled(function)(x, slope), np.where(x > 0, x, x * slope.reshape(place)))


DTYPES = ["float32", "float64", "float16", "int8", "uint8", "int32", "int64", "bool"]


@pytest.mark.parametrize("target", DTYPES)
@pytest.mark.parametrize("source", DTYPES)
def test_conversion_between_dtypes_is_numpys(source, target):
    x = (np.arange(24) % 7).astype(source).reshape(2, 12)
    function = relax_function(lambda x: op.astype(x, target), ((2, 12), source))
    np.testing.assert_array_equal(Compiled(function)(x), x.astype(target))


def test_conversion_of_fractions_cuts_towards_zero():
    x = np.array([1.9, -1.9, 0.5, -0.5], np.float32)
    function = relax_function(lambda x: [op.astype(x, "int32"), op.astype(x, "bool")], ((4,), "float32"))
    numbers, bools = Compiled(function)(x)
    assert numbers.tolist() == [1, -1, 0, 0] and bools.tolist() == [True] * 4


def test_an_op_on_a_dtype_without_a_formula_is_refused_with_that_dtype():
    function = relax_function(op.divide, ((3,), "bool"), ((3,), "bool"))
    assert refusal_of(function) == "divide of bool is not done"


def test_fused_multiply_add_is_the_product_and_the_sum():
    shapes = [((3, 4), "float32")] * 3
    arrays = [random_array((3, 4), seed=i) for i in range(3)]
    function = relax_function(op.ewise_fma, *shapes)
    np.testing.assert_allclose(Compiled(function)(*arrays), arrays[0] * arrays[1] + arrays[2], rtol=1e-6)
