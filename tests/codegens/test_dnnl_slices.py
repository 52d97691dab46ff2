"""dnnl: large batches go through a partition in slices whose tensors fit the cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm import relax

from tests.codegens.dnnl_ops import Compiled, needs_onednn, slices_of
from tests.codegens.ops import random_array, relax_function

pytestmark = needs_onednn
op = relax.op
F32 = "float32"
MIB = 2**20


def number(*shape: int) -> Any:
    return relax.const(random_array(shape), F32)


def images(batch: Any, floats: int = MIB) -> tuple[tuple[Any, ...], str]:
    """A batch of images that ops read and write in 8 MiB each, unless told otherwise."""
    return (batch, 16, floats // 16 // 64, 64), F32


@pytest.mark.parametrize(
    ("batch", "floats", "slices"),
    [(1, MIB, 1), (2, MIB, 2), (8, MIB, 8), (8, MIB // 2, 4), (8, MIB // 16, 1), (9, MIB // 4, 3), (7, MIB // 2, 7)],
)
def test_a_slice_is_the_most_images_that_an_op_reads_and_writes_in_12_mib(batch, floats, slices):
    assert slices_of(relax_function(op.nn.relu, images(batch, floats))) == slices


def test_a_batch_whose_size_is_told_by_the_run_is_cut_too():
    function = relax_function(op.nn.relu, images("n"))
    assert [slices_of(function, n=n) for n in (1, 4)] == [1, 4]


def network(x: Any) -> Any:
    """Branches, a sum and a classifier."""
    x = op.reshape(x, (-1, 16, 256, 256))
    left = op.nn.relu(op.nn.conv2d(x, number(24, 16, 3, 3), padding=(1, 1)))
    right = op.nn.conv2d(x, number(24, 16, 1, 1))
    pooled = op.nn.max_pool2d(op.concat([op.add(left, right), x], 1), (4, 4), (4, 4))
    return op.nn.softmax(op.add(op.matmul(op.mean(pooled, [2, 3]), number(40, 10)), number(10)), -1)


def test_slices_compute_what_single_images_do():
    x = random_array(images(4)[0])
    whole, single = (relax_function(network, (shape, F32)) for shape in (x.shape, (1, *x.shape[1:])))
    assert slices_of(whole) == 4
    (mine,), one = Compiled(whole)(x), Compiled(single)
    np.testing.assert_array_equal(mine, np.concatenate([one(image[None])[0] for image in x]))


def test_what_all_images_share_is_read_by_every_slice():
    x, shared = random_array(images(4)[0]), random_array((1, 16, 1, 1))
    function = relax_function(op.multiply, (x.shape, F32), (shared.shape, F32))
    assert slices_of(function) == 4
    np.testing.assert_array_equal(Compiled(function)(x, shared)[0], x * shared)


@pytest.mark.parametrize(
    "body",
    [
        lambda x: op.nn.softmax(x, 0),
        lambda x: op.mean(x, [0]),
        lambda x: op.permute_dims(x, (1, 0, 2, 3)),
        lambda x: op.concat([x, x], 0),
        lambda x: op.nn.relu(op.reshape(x, (64, 1024, 64))),
        lambda x: op.add(x, op.mean(x, [0], keepdims=True)),
        lambda x: op.matmul(op.reshape(x, (4, -1)), op.permute_dims(op.reshape(x, (4, -1)))),
        lambda x: relax.Tuple([op.nn.relu(x), op.mean(x, [0, 1])]),
    ],
)
def test_a_batch_whose_images_meet_stays_whole(body):
    assert slices_of(relax_function(body, images(4))) == 1


def test_a_batch_stays_whole_where_every_slice_would_read_many_weights():
    def classifier(x: Any) -> Any:
        return op.matmul(op.reshape(x, (4, MIB)), number(MIB, 5))

    assert slices_of(relax_function(classifier, images(4))) == 1
