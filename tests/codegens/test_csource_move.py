"""Ops that only move elements: reshape, transpose, slice, concatenate, repeat, pad."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from tvm import relax

from tests.codegens.ops import Compiled, check_against_host, random_array, refusal_of, relax_function

op = relax.op
F32 = "float32"


def run(body, *arrays, dims=None):
    """The result of csource for a function of these arrays; `dims` replaces the first one's shape by symbols."""
    shapes = [a.shape for a in arrays]
    if dims:
        shapes[0] = dims
    return Compiled(relax_function(body, *zip(shapes, map(str, (a.dtype for a in arrays)), strict=True)))(*arrays)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "bool"])
def test_reshape_and_its_kin_keep_the_order_of_elements(dtype):
    x = random_array((2, 1, 6), dtype)
    np.testing.assert_array_equal(run(lambda x: op.reshape(x, (3, 4)), x), x.reshape(3, 4))
    np.testing.assert_array_equal(run(op.flatten, x), x.reshape(-1))
    np.testing.assert_array_equal(run(lambda x: op.squeeze(x, [1]), x), x[:, 0])
    np.testing.assert_array_equal(run(lambda x: op.expand_dims(x, [0, -1]), x), x[None, ..., None])


def test_reshape_to_a_scalar_and_of_an_empty_tensor():
    assert run(lambda x: op.reshape(x, ()), np.ones((1, 1), F32)).shape == ()
    assert run(lambda x: op.reshape(x, (0, 1, 7)), np.ones((0, 7), F32)).shape == (0, 1, 7)


def test_reshape_of_symbolic_dimensions():
    function = relax_function(op.flatten, (("n", 3, "m"), F32))
    compiled = Compiled(function)
    for n, m in [(2, 4), (0, 5), (1, 1)]:
        x = random_array((n, 3, m))
        np.testing.assert_array_equal(compiled(x), x.reshape(-1))


def test_reshape_to_a_shape_that_turns_out_not_to_fit_is_an_error():
    function = relax_function(lambda x, y: op.reshape(x, (2, y.ty.shape[0])), (("n", 3), F32), (("m",), F32))
    compiled = Compiled(function)
    x = random_array((4, 3))
    np.testing.assert_array_equal(compiled(x, np.zeros(6, F32)), x.reshape(2, 6))
    with pytest.raises(ValueError, match=r"reshape .* different numbers of elements"):
        compiled(x, np.zeros(5, F32))


@pytest.mark.parametrize("axes", list(itertools.permutations(range(4)))[::3])
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_transpose_by_any_permutation(axes, dtype):
    x = random_array((3, 17, 5, 18), dtype)
    np.testing.assert_array_equal(run(lambda x: op.permute_dims(x, axes), x), x.transpose(axes))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8"])
def test_a_large_transpose_goes_through_blocks_with_ragged_edges(dtype):
    x = random_array((3, 301, 403), dtype)
    np.testing.assert_array_equal(run(lambda x: op.permute_dims(x, [0, 2, 1]), x), x.transpose(0, 2, 1))


def test_transpose_reverses_the_axes_when_none_are_given_and_takes_symbols_and_rank_zero():
    x = random_array((3, 4, 5))
    np.testing.assert_array_equal(run(op.permute_dims, x, dims=("a", "b", "c")), x.T)
    assert run(op.permute_dims, np.float32([7]).reshape(())) == 7


SLICES = [
    ([1, 3], [0, -1], [2, -9], [1, -2]),
    ([0], [-2], [2**31 - 1], [1]),
    ([2], [-1], [-(2**31)], [-1]),
    ([1], [5], [9], [1]),
    ([-1, 0], [1, 1], [4, 2], [2, 1]),
    ([2], [1], [-1], [3]),
]


@pytest.mark.parametrize(("axes", "begin", "end", "step"), SLICES)
@pytest.mark.parametrize("dims", [None, ("n", 3, "m", "k")])
def test_a_slice_is_numpys(axes, begin, end, step, dims):
    x = random_array((4, 3, 7, 5))
    wanted = [slice(None)] * 4
    for axis, b, e, s in zip(axes, begin, end, step, strict=True):
        wanted[axis] = slice(b, None if s < 0 and e < -9 else e, s)
    got = run(lambda x: op.strided_slice(x, axes, begin, end, step), x, dims=dims)
    np.testing.assert_array_equal(got, x[tuple(wanted)])


@pytest.mark.parametrize(("sections", "axis"), [(2, 1), ([1, 3], -1), ([0, 2], 0), (3, 2)])
def test_split_gives_every_part(sections, axis):
    x = random_array((4, 6, 9))
    for part, wanted in zip(run(lambda x: op.split(x, sections, axis), x), np.split(x, sections, axis), strict=True):
        np.testing.assert_array_equal(part, wanted)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_flip_reverses_an_axis(axis):
    x = random_array((3, 4, 70))
    np.testing.assert_array_equal(run(lambda x: op.flip(x, axis), x), np.flip(x, axis))
    np.testing.assert_array_equal(run(lambda x: op.flip(x, axis), x, dims=("a", "b", "c")), np.flip(x, axis))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concat_joins_along_an_axis(axis):
    x, y = random_array((2, 3, 4)), random_array((2, 3, 4), seed=1)
    got = run(lambda x, y: op.concat([x, y, x], axis), x, y)
    np.testing.assert_array_equal(got, np.concatenate([x, y, x], axis))


def test_concat_of_symbolic_and_empty_parts():
    compiled = Compiled(relax_function(lambda x, y: op.concat([x, y], 1), ((2, "n", 3), F32), ((2, "m", 3), F32)))
    for n, m in [(1, 2), (0, 4), (3, 0), (0, 0)]:
        x, y = random_array((2, n, 3)), random_array((2, m, 3), seed=1)
        np.testing.assert_array_equal(compiled(x, y), np.concatenate([x, y], 1))


@pytest.mark.parametrize("axis", [0, 2, -1])
def test_stack_puts_tensors_along_a_new_axis(axis):
    x, y = random_array((2, 3)), random_array((2, 3), seed=1)
    np.testing.assert_array_equal(run(lambda x, y: op.stack([x, y], axis), x, y), np.stack([x, y], axis))


@pytest.mark.parametrize(("shape", "target"), [((3, 1), (2, 3, 4)), ((), (2, 2)), ((1,), (0,)), ((5,), (5,))])
def test_broadcast_to_a_shape(shape, target):
    x = random_array(shape)
    np.testing.assert_array_equal(run(lambda x: op.broadcast_to(x, target), x), np.broadcast_to(x, target))


@pytest.mark.parametrize("repeats", [(2, 1, 3), (2,), (2, 1, 1, 2), (1, 4, 1)])
def test_tile_repeats_the_whole(repeats):
    x = random_array((2, 3, 4))
    np.testing.assert_array_equal(run(lambda x: op.tile(x, repeats), x), np.tile(x, repeats))
    np.testing.assert_array_equal(run(lambda x: op.tile(x, repeats), x, dims=("a", 3, "b")), np.tile(x, repeats))


@pytest.mark.parametrize("axis", [0, 1, -1, None])
def test_repeat_repeats_each_element(axis):
    x = random_array((2, 3, 4))
    np.testing.assert_array_equal(run(lambda x: op.repeat(x, 3, axis), x), np.repeat(x, 3, axis))


WIDTHS = [[(0, 0), (1, 2), (2, 1)], [(1, 0), (0, 0), (0, 3)], [(0, 0), (0, 0), (0, 0)]]
MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("mode", MODES)
def test_pad_of_every_mode_is_numpys(widths, mode):
    x = random_array((2, 4, 5))
    flat = [int(w) for pair in widths for w in pair]
    wanted = np.pad(x, widths, MODES[mode])
    got = run(lambda x: op.nn.pad(x, flat, mode, 0.0), x, dims=("n", 4, "m") if mode == "constant" else None)
    np.testing.assert_array_equal(got, wanted)


def test_pad_writes_its_value_in_the_tensors_dtype():
    x = np.ones((1, 2), np.float16)
    np.testing.assert_array_equal(run(lambda x: op.nn.pad(x, [0, 0, 1, 1], "constant", -2.5), x), [[-2.5, 1, 1, -2.5]])
    x = np.ones((0, 2), np.int8)
    np.testing.assert_array_equal(run(lambda x: op.nn.pad(x, [1, 0, 0, 1], "constant", -3), x), [[-3, -3, -3]])


@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("indices", [[[2, 0], [1, 1]], 1, []])
def test_take_picks_slices(axis, indices, index_dtype):
    x, i = random_array((3, 4, 5)), np.array(indices, index_dtype)
    np.testing.assert_array_equal(run(lambda x, i: op.take(x, i, axis), x, i), np.take(x, i.astype(int), axis))


def test_take_treats_indices_outside_as_its_mode_says():
    x, i = np.arange(4, dtype=F32), np.array([-1, 5, 2, -9])
    assert run(lambda x, i: op.take(x, i, 0, mode="clip"), x, i).tolist() == [0, 3, 2, 0]
    assert run(lambda x, i: op.take(x, i, 0, mode="wrap"), x, i).tolist() == [3, 1, 2, 3]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gather_elements_follows_the_indices_along_an_axis(axis):
    x = random_array((4, 5, 6))
    shape = [3, 4, 5]
    shape[axis] = 7
    i = np.random.default_rng(1).integers(0, x.shape[axis], shape)
    cut = x[tuple(slice(None) if k == axis else slice(s) for k, s in enumerate(shape))]
    got = run(lambda x, i: op.gather_elements(x, i, axis), x, i)
    np.testing.assert_array_equal(got, np.take_along_axis(cut, i, axis))


def test_gather_and_scatter_stay_inside_the_data():
    x, i = np.arange(6, dtype=F32).reshape(2, 3), np.array([[9, -9, 0], [1, 0, 1], [0, 0, 0]])
    gathered = run(lambda x, i: op.gather_elements(x, i, 0), x, i, dims=("n", "m"))
    np.testing.assert_array_equal(gathered, [[3, 1, 2], [3, 1, 5], [0, 1, 2]])
    scattered = run(lambda x, i, u: op.scatter_elements(x, i, u, 0), x, i, np.full((3, 3), 7, F32), dims=("n", "m"))
    np.testing.assert_array_equal(scattered, [[7, 7, 7], [7, 4, 7]])


@pytest.mark.parametrize(("batch", "depth"), [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1)])
def test_gather_nd_agrees_with_the_host(batch, depth):
    x = random_array((3, 4, 5))
    i = np.random.default_rng(1).integers(0, 3, (*(3, 4, 2)[: batch + 1], depth))
    function = relax_function(lambda x, i: op.gather_nd(x, i, batch), (x.shape, F32), (i.shape, "int64"))
    check_against_host(function, x, i)


REDUCTIONS = {
    "update": lambda a, b: b, "add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum,
}  # fmt: skip


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", ["float32", "int64", "float16"])
def test_scatter_elements_applies_updates_in_order(reduction, dtype):
    x, u = random_array((4, 5), dtype), random_array((3, 5), dtype, seed=1)
    i = np.random.default_rng(1).integers(-4, 4, (3, 5))
    wanted = x.copy()
    for row, col in np.ndindex(3, 5):
        wanted[i[row, col], col] = REDUCTIONS[reduction](wanted[i[row, col], col], u[row, col])
    np.testing.assert_array_equal(run(lambda x, i, u: op.scatter_elements(x, i, u, 0, reduction), x, i, u), wanted)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_scatter_nd_writes_slices(reduction):
    x, u = random_array((4, 3, 2)), random_array((2, 3, 2), seed=1)
    i = np.array([[3], [0]])
    wanted = x.copy()
    for k, place in enumerate([3, 0]):
        wanted[place] = REDUCTIONS[reduction](wanted[place], u[k])
    np.testing.assert_array_equal(run(lambda x, i, u: op.scatter_nd(x, i, u, reduction), x, i, u), wanted)


def test_indices_of_a_narrow_dtype_are_refused():
    function = relax_function(lambda x, i: op.take(x, i, 0), ((4,), F32), ((2,), "int8"))
    assert refusal_of(function) == "take with indices of int8 is not done"
