"""dnnl: channels of groups dealt out in turns are one op, by a kernel where channels lie next to each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm import relax

from tests.codegens.dnnl_ops import Compiled, check_against_host, needs_onednn
from tests.codegens.ops import random_array, relax_function

pytestmark = needs_onednn
op = relax.op


def shuffled(x: Any, shape: tuple[Any, ...], groups: int) -> Any:
    images, channels, *plane = shape
    parted = op.reshape(x, (images, groups, channels // groups, *plane))
    order = [0, 2, 1, *range(3, len(shape) + 1)]
    return op.reshape(op.permute_dims(parted, order), shape)


def numbered(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Neighbours differ, in any dtype."""
    return (np.arange(np.prod(shape)) % 251).reshape(shape).astype(dtype)


def expected(x: np.ndarray, groups: int) -> np.ndarray:
    images, channels, *plane = x.shape
    return x.reshape(images, groups, channels // groups, *plane).swapaxes(1, 2).reshape(x.shape)


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8"])
@pytest.mark.parametrize(
    ("groups", "depth"), [(2, 8), (2, 33), (3, 1), (3, 7), (4, 28), (4, 34), (4, 136), (8, 48), (34, 4), (5, 70)]
)
def test_a_shuffle_deals_out_the_channels_of_its_groups(groups, depth, dtype):
    x = numbered((2, 3, 5, groups * depth), dtype)
    whole = (2, groups * depth, 3, 5)
    function = relax_function(lambda a: shuffled(op.permute_dims(a, (0, 3, 1, 2)), whole, groups), (x.shape, dtype))
    compiled = Compiled(function)
    np.testing.assert_array_equal(compiled(x)[0], expected(x.transpose(0, 3, 1, 2), groups))
    assert compiled.kinds == ["transpose", "shuffle"]


@pytest.mark.parametrize("shape", [(1, 12, 4), (2, 12, 3, 5), (1, 12, 2, 3, 4)])
def test_planes_are_dealt_out_too(shape):
    x = numbered(shape, "float32")
    compiled = Compiled(relax_function(lambda a: shuffled(a, shape, 3), (shape, "float32")))
    np.testing.assert_array_equal(compiled(x)[0], expected(x, 3))


def between_convolutions(x: Any) -> Any:
    def weights(*shape: int) -> Any:
        return relax.const(random_array(shape, seed=len(shape)) * 0.2, "float32")

    x = op.nn.relu(op.nn.conv2d(x, weights(136, 34, 1, 1), groups=4))
    x = op.nn.conv2d(shuffled(x, (2, 136, 9, 9), 4), weights(136, 1, 3, 3), groups=136, padding=1)
    return op.nn.conv2d(x, weights(136, 34, 1, 1), groups=4)


@pytest.mark.parametrize(("precision", "tolerance"), [("f32", 1e-5), ("bf16", 0.03)])
def test_a_shuffle_between_convolutions_agrees_with_the_host(precision, tolerance):
    function = relax_function(between_convolutions, ((2, 136, 9, 9), "float32"))
    x = random_array((2, 136, 9, 9))
    compiled = check_against_host(function, x, rtol=tolerance, atol=tolerance, precision=precision)
    assert compiled.kinds.count("shuffle") == 1 and "transpose" not in compiled.kinds


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (0, 2, 1, 4, 3)])
def test_other_transpositions_stay_what_they_are(order):
    def body(a: Any) -> Any:
        return op.reshape(op.permute_dims(op.reshape(a, (1, 3, 4, 5, 5)), order), (1, 12, 5, 5))

    function = relax_function(body, ((1, 12, 5, 5), "float32"))
    assert "shuffle" not in check_against_host(function, random_array((1, 12, 5, 5))).kinds
