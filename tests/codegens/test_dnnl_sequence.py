"""dnnl: products, normalisations, element-wise ops, reductions, movements; what transformers are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm import relax

from tests.codegens.dnnl_ops import Compiled, check_against_host, needs_onednn, refusal_of
from tests.codegens.ops import random_array, relax_function

pytestmark = needs_onednn
op = relax.op


def const(shape: tuple[int, ...], seed: int = 1) -> Any:
    return relax.const(random_array(shape, seed=seed), "float32")


def check(body: Any, *shapes: Any, sizes: dict[str, int] | None = None, **options: Any) -> Compiled:
    arrays = [random_array([(sizes or {}).get(d, d) for d in s], seed=i) for i, s in enumerate(shapes)]
    tolerance = {"rtol": 1e-4, "atol": 1e-4} | options
    return check_against_host(relax_function(body, *((s, "float32") for s in shapes)), *arrays, **tolerance)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((5, 7), (7, 9)),
        ((2, 3, 5, 7), (2, 3, 7, 4)),
        ((2, 3, 5, 7), (3, 7, 4)),
        ((2, 1, 5, 7), (1, 3, 7, 4)),
        ((4, 5, 7), (7, 6)),
        ((7,), (7, 3)),
        ((2, 5, 7), (7,)),
        ((7,), (7,)),
    ],
)
def test_products_broadcast_as_in_numpy(a, b):
    check(op.matmul, a, b)


def test_a_linear_layer_is_one_primitive_on_all_rows():
    compiled = check(
        lambda x: op.nn.gelu(op.add(op.matmul(x, const((24, 32))), const((32,), 2))),
        ("n", "s", 24),
        sizes={"n": 2, "s": 5},
    )
    assert compiled.kinds == ["matmul+gelu_erf"]
    assert len(compiled.program.ops[0].inputs) == 3


def test_a_residual_is_added_to_rows():
    compiled = check(
        lambda x: op.add(op.matmul(op.nn.relu(op.matmul(x, const((8, 16)))), const((16, 8), 2)), op.exp(x)), (2, 3, 8)
    )
    assert compiled.kinds[-1] == "matmul+sum"


def attention(x: Any, mask: Any) -> Any:
    def heads(seed: int) -> Any:
        projected = op.add(op.matmul(x, const((16, 16), seed)), const((16,)))
        return op.permute_dims(op.reshape(projected, (2, 6, 4, 4)), (0, 2, 1, 3))

    scores = op.matmul(heads(1), op.permute_dims(heads(2), (0, 1, 3, 2)))
    weights = op.nn.softmax(op.add(op.multiply(scores, relax.const(np.float32(0.05))), mask), -1)
    joined = op.reshape(op.permute_dims(op.matmul(weights, heads(3)), (0, 2, 1, 3)), (2, 6, 16))
    return op.nn.layer_norm(op.add(x, joined), const((16,), 5), const((16,), 6), [-1])


def test_attention_agrees_with_the_host():
    check(lambda x, mask: attention(x, mask), (2, 6, 16), (2, 1, 1, 6), rtol=1e-3)


@pytest.mark.parametrize("name", ["exp", "sqrt", "rsqrt", "abs", "negative", "tanh", "sigmoid", "square"])
def test_functions_of_one_element(name):
    body = {"square": lambda x: op.multiply(x, x)}.get(name, getattr(op, name))
    function = relax_function(body, ((3, 5, 7), "float32"))
    check_against_host(function, np.abs(random_array((3, 5, 7))) + 0.1, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "maximum", "minimum"])
@pytest.mark.parametrize(
    ("a", "b"), [((2, 3, 4), (2, 3, 4)), ((2, 3, 4), (3, 1)), ((4,), (2, 3, 4)), ((1,), (2, 3)), (("n", 4), (1, 4))]
)
def test_functions_of_two_elements_broadcast(name, a, b):
    check(getattr(op, name), a, b, sizes={"n": 3}, rtol=1e-3)


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "maximum", "minimum", "power"])
@pytest.mark.parametrize("scalar_first", [False, True])
def test_functions_with_a_constant_number(name, scalar_first):
    scalar = relax.const(np.float32(1.7))
    function = getattr(op, name)
    if name == "power" and scalar_first:
        assert "one constant" in refusal_of(relax_function(lambda x: function(scalar, x), ((3, 4), "float32")))
        return
    body = (lambda x: function(scalar, x)) if scalar_first else (lambda x: function(x, scalar))
    x = np.abs(random_array((3, 4))) + 0.2
    check_against_host(relax_function(body, ((3, 4), "float32")), x, rtol=1e-4)


@pytest.mark.parametrize("name", ["add", "divide", "power"])
def test_a_number_may_have_more_dimensions_than_the_tensor(name):
    check(lambda x: getattr(op, name)(op.abs(x), relax.const(np.full((1, 1), 1.7, np.float32))), (4,))


@pytest.mark.parametrize("divisor", [0.0, -0.0, 1e-40, 1e38, 2e38, np.inf])
def test_a_division_by_a_number_without_a_reciprocal_is_exact(divisor):
    function = relax_function(lambda x: op.divide(x, relax.const(np.float32(divisor))), ((6,), "float32"))
    x = np.array([0.0, -0.0, 1.5, -3.0, 3e38, np.inf], np.float32)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(Compiled(function)(x)[0], x / np.float32(divisor))


def test_a_lower_bound_that_is_infinite_is_one():
    function = relax_function(lambda x: op.clip(x, np.inf, np.inf), ((3,), "float32"))
    assert Compiled(function)(np.array([-1.0, 0.0, 7.0], np.float32))[0].tolist() == [np.inf] * 3


@pytest.mark.parametrize("rank", [5, 6, 8])
@pytest.mark.parametrize("other", ["same shape", "channel", "one"])
def test_a_function_is_followed_by_a_sum_in_many_dimensions(rank, other):
    shape = (2, 3, *[2] * (rank - 2))
    shapes = {"same shape": shape, "channel": (1, 3, *[1] * (rank - 2)), "one": (1,) * rank}
    check(lambda x, y: op.multiply(op.add(op.exp(x), y), y), shape, shapes[other])


@pytest.mark.parametrize("pixels", [(1,), (1, 1), (1, "s")])
def test_a_batch_of_single_pixels_is_scaled_and_shifted_by_channel(pixels):
    channels = (1, 4, *[1] * len(pixels))
    compiled = check(
        lambda x, y: op.add(op.multiply(x, y), const(channels, 3)), (3, 4, *pixels), channels, sizes={"s": 1}
    )
    assert compiled.kinds == ["binary_mul+binary_add"]


@pytest.mark.parametrize("order", [(1, 0), (0, 2, 1), (1, 2, 0), (0, 2, 3, 1), (3, 1, 0, 2), (2, 0, 4, 1, 3)])
def test_a_product_with_transposed_axes_is_shifted_by_channel(order):
    shape = (2, 3, 4, 5, 6)[: len(order)]
    turned = tuple(shape[axis] for axis in order)
    channels = (1, turned[1], *[1] * (len(order) - 2))
    check(lambda x, y: op.add(op.multiply(op.permute_dims(x, order), y), const(channels, 3)), shape, turned)


def test_silu_that_is_spelled_out_is_recognised():
    assert check(lambda x: op.multiply(x, op.sigmoid(x)), (4, 5)).kinds == ["swish"]


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min"])
@pytest.mark.parametrize("axes", [[0], [1], [2], [1, 2], [0, 2], None])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions(name, axes, keepdims):
    check(lambda x: getattr(op, name)(x, axes, keepdims), (3, 5, 7))


def test_reductions_over_images_and_over_symbolic_axes():
    check(lambda x: [op.mean(x, [2, 3], True), op.max(x, [2, 3])], (2, 9, 4, 5))
    check(lambda x: op.sum(x, [1]), (2, "s", 6), sizes={"s": 5})


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min"])
def test_a_symbolic_axis_of_one_element_is_reduced(name):
    check(lambda x: op.nn.relu(op.add(getattr(op, name)(x, [1], True), const((1, 1, 1)))), (2, "s", 6), sizes={"s": 1})


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax(axis):
    check(lambda x: op.nn.softmax(x, axis), (3, 4, 6))


@pytest.mark.parametrize("function", [op.log, op.nn.log_softmax])
def test_logarithms_are_left_to_others(function):
    assert "logarithm is off by" in refusal_of(relax_function(lambda x: function(x), ((3, 4), "float32")))


def test_reductions_of_nothing():
    check(lambda x: [op.sum(x, [0]), op.mean(x, [0], True), op.max(x, [0])], (3, "n"), sizes={"n": 0})


def test_normalisations():
    check(lambda x: op.nn.layer_norm(x, const((6,)), const((6,), 2), [-1], epsilon=1e-5), (2, "s", 6), sizes={"s": 3})
    check(lambda x: op.nn.layer_norm(x, const((4, 6)), const((4, 6), 2), [-2, -1]), (2, 3, 4, 6))
    check(lambda x: op.nn.group_norm(x, const((8,)), const((8,), 2), 4, 1, [2, 3]), (2, 8, 5, 3))
    check(lambda x: op.nn.instance_norm(x, const((5,)), const((5,), 2), 1, [2, 3]), (2, 5, 4, 4))


def test_movements():
    check(lambda x: op.permute_dims(x, (2, 0, 1)), (3, 4, 5))
    check(lambda x: op.reshape(op.permute_dims(x, (1, 0, 2)), (4, 15)), (3, 4, 5))
    check(lambda x: op.strided_slice(x, [1, 2], [1, 0], [4, 6], [1, 2]), (3, 4, 6))
    check(lambda x: op.concat([op.split(x, 3, axis=1)[2], x], axis=1), (2, 6, 3))
    check(lambda x: op.nn.pad(x, (0, 0, 1, 2, 0, 3)), (2, 3, 4))
    check(lambda x: [op.expand_dims(x, [0]), op.squeeze(op.reshape(x, (3, 1, 4)), [1])], (3, 4))


def test_resampling():
    check(
        lambda x: op.image.resize2d(x, (8, 12), method="linear", coordinate_transformation_mode="half_pixel"),
        (1, 3, 4, 6),
    )
    check(
        lambda x: op.image.resize2d(
            x, (8, 12), method="nearest_neighbor", coordinate_transformation_mode="asymmetric", rounding_method="floor"
        ),
        (1, 3, 4, 6),
    )


def test_sizes_that_change_from_run_to_run():
    function = relax_function(
        lambda x: op.nn.softmax(op.add(op.matmul(x, const((6, 5))), const((5,), 2)), -1), (("n", "s", 6), "float32")
    )
    compiled = Compiled(function)
    for n in range(1, 22):
        x = random_array((n, 3, 6), seed=n)
        np.testing.assert_allclose(compiled(x)[0], Compiled(function)(x)[0], rtol=1e-5, atol=1e-6)


def test_bfloat16_is_near_and_keeps_float32_at_the_edges():
    function = relax_function(
        lambda x: op.add(op.nn.relu(op.matmul(x, const((32, 48)))), relax.const(np.float32(1))), ((7, 32), "float32")
    )
    x = random_array((7, 32))
    exact, near = Compiled(function)(x)[0], Compiled(function, precision="bf16")(x)[0]
    assert near.dtype == np.float32
    assert 1e-4 < np.abs(near - exact).max() / np.abs(exact).max() < 2e-2


def test_what_would_be_wrong_is_refused():
    both = relax_function(op.add, ((3, 1), "float32"), ((1, 4), "float32"))
    assert refusal_of(both) == "both operands would have to be broadcast"
    unsure = relax_function(op.add, (("n", 4), "float32"), ((1, 4), "float32"))
    assert Compiled(unsure)
    reflected = relax_function(lambda x: op.nn.pad(x, (1, 1), "reflect"), ((5,), "float32"))
    assert refusal_of(reflected) == "pads with zeros only"


@needs_onednn
@pytest.mark.parametrize("move", [lambda x: relax.op.reshape(x, (3, 4)), lambda x: relax.op.expand_dims(x, 1)])
def test_long_integers_are_moved_whole(move):
    x = np.arange(12).reshape(2, 6) - (1 << 40)
    (moved,) = Compiled(relax_function(move, ((2, 6), "int64")))(x)
    assert moved.dtype == np.int64 and moved.ravel().tolist() == x.ravel().tolist()


def test_long_integers_of_twelve_dimensions_are_refused():
    function = relax_function(lambda x: relax.op.reshape(x, (1,) * 11 + (4,)), ((4,), "int64"))
    assert refusal_of(function) == "has more than 11 dimensions"
