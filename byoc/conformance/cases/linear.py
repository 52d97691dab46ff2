"""Matrix products and convolutions: odd sizes, batches, padding, strides, dilation, groups, dtypes, dynamic sizes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from byoc.conformance.case import Case
from byoc.conformance.cases.make import SIZES, one, t, w, y


def _cases() -> Iterator[Case]:
    yield one("matmul", "odd sizes", t((5, 7)), w((7, 3)))
    yield one("matmul", "one by one", t((1, 1)), w((1, 1)))
    yield one("matmul", "one row", t((1, 33)), w((33, 17)))
    yield one("matmul", "one column", t((17, 33)), w((33, 1)))
    yield one("matmul", "larger than a tile, threads", t((67, 129)), w((129, 71)), threads=True)
    yield one("matmul", "both variable", t((5, 7)), y((7, 3)))
    yield one("matmul", "a matrix with itself", t((9, 9)), t((9, 9)))
    yield one("matmul", "batches", t((2, 3, 5, 7)), y((2, 3, 7, 4)))
    yield one("matmul", "one matrix for all batches", t((4, 5, 7)), w((7, 3)))
    yield one("matmul", "batches are broadcast", t((4, 1, 5, 7)), y((3, 7, 2)))
    yield one("matmul", "vector on the right", t((5, 7)), y((7,)))
    yield one("matmul", "no terms", t((3, 0)), y((0, 4)))
    yield one("matmul", "dynamic", t(("n", 7)), w((7, 5)), sizes=SIZES)
    yield one("matmul", "dynamic on both sides", t(("n", "m")), y(("m", "n")), sizes=SIZES)
    for dtype in ("float16", "float64", "int32"):
        yield one("matmul", dtype, t((5, 9), dtype), y((9, 7), dtype))
    yield from _convolutions()
    yield from _transposed()


def _convolutions() -> Iterator[Case]:
    image = t((1, 3, 9, 11))
    weights = w((4, 3, 3, 3))
    variants: dict[str, dict[str, Any]] = {
        "plain": {}, "padding": {"padding": [1, 1]}, "uneven padding": {"padding": [0, 1, 2, 1]},
        "strides": {"strides": [2, 3]}, "dilation": {"dilation": [2, 3], "padding": [2, 3]},
        "all at once": {"padding": [1, 2], "strides": [2, 1], "dilation": [1, 2]},
    }  # fmt: skip
    for what, attrs in variants.items():
        yield one("nn.conv2d", what, image, weights, **attrs)
    yield one("nn.conv2d", "one by one", t((1, 5, 7, 9)), w((6, 5, 1, 1)))
    yield one("nn.conv2d", "batch of three, threads", t((3, 8, 13, 13)), w((17, 8, 3, 3)), padding=[1, 1], threads=True)
    yield one("nn.conv2d", "wide kernel", t((1, 2, 9, 11)), w((3, 2, 1, 5)), padding=[0, 2])
    yield one("nn.conv2d", "groups", t((1, 6, 7, 7)), w((4, 3, 3, 3)), groups=2, padding=[1, 1])
    yield one("nn.conv2d", "depthwise", t((1, 5, 9, 9)), w((5, 1, 3, 3)), groups=5, padding=[1, 1])
    yield one("nn.conv2d", "depthwise, strides", t((2, 5, 9, 9)), w((5, 1, 3, 3)), groups=5, strides=[2, 2])
    yield one("nn.conv2d", "variable weights", t((1, 3, 6, 6)), y((2, 3, 3, 3)))
    yield one("nn.conv2d", "dynamic batch", t(("n", 3, 7, 7)), w((4, 3, 3, 3)), padding=[1, 1], sizes=SIZES)
    yield one("nn.conv2d", "NaN in the image", t((1, 3, 9, 9), fill="special"), w((2, 3, 1, 1), fill="positive"))
    yield one("nn.conv1d", "padding, dilation", t((2, 3, 17)), w((4, 3, 3)), padding=[2], dilation=[2])
    yield one("nn.conv1d", "strides", t((1, 3, 17)), w((4, 3, 5)), strides=[2])
    yield one("nn.conv3d", "padding", t((1, 2, 5, 6, 7)), w((3, 2, 3, 3, 3)), padding=[1, 1, 1])


def _transposed() -> Iterator[Case]:
    yield one("nn.conv1d_transpose", "strides", t((1, 3, 7)), w((3, 2, 3)), strides=[2])
    yield one("nn.conv2d_transpose", "plain", t((1, 3, 5, 6)), w((3, 4, 3, 3)))
    yield one(
        "nn.conv2d_transpose", "strides, padding", t((1, 3, 5, 6)), w((3, 4, 3, 3)), strides=[2, 2], padding=[1, 1],
        output_padding=[1, 1],
    )  # fmt: skip
    yield one("nn.conv3d_transpose", "strides", t((1, 2, 3, 4, 3)), w((2, 3, 2, 2, 2)), strides=[2, 2, 2])
    yield one("nn.conv2d_transpose", "groups", t((1, 4, 5, 5)), w((4, 2, 2, 2)), groups=2, strides=[2, 2])


CASES = tuple(_cases())
