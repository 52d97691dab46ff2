"""Pooling: padding, strides, dilation, ceil mode, NaN; and resizing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from byoc.conformance.case import Case
from byoc.conformance.cases.make import SIZES, one, t


def _cases() -> Iterator[Case]:
    image = t((2, 3, 9, 11))
    variants: dict[str, dict[str, Any]] = {
        "strides": {"pool_size": [2, 2], "strides": [2, 2]},
        "padding": {"pool_size": [3, 3], "strides": [2, 2], "padding": [1, 1]},
        "uneven padding": {"pool_size": [3, 2], "strides": [1, 1], "padding": [0, 1, 2, 0]},
        "ceil mode": {"pool_size": [3, 3], "strides": [2, 2], "padding": [0, 0], "ceil_mode": True},
    }
    for op in ("nn.max_pool2d", "nn.avg_pool2d"):
        for what, attrs in variants.items():
            yield one(op, what, image, **attrs)
        yield one(op, "dynamic batch", t(("n", 3, 8, 8)), pool_size=[2, 2], strides=[2, 2], sizes=SIZES)
    yield one("nn.max_pool2d", "dilation", image, pool_size=[2, 3], strides=[1, 1], dilation=[2, 2])
    yield one("nn.max_pool2d", "NaN and infinities", t((1, 2, 9, 9), fill="special"), pool_size=[3, 3], strides=[2, 2])
    yield one("nn.max_pool2d", "all below zero with padding", t((1, 2, 4, 4), "int8", "large"), pool_size=[3, 3],
              strides=[2, 2], padding=[1, 1])  # fmt: skip
    yield one("nn.avg_pool2d", "padding counts", image, pool_size=[3, 3], padding=[1, 1], count_include_pad=True)
    for op in ("nn.max_pool1d", "nn.avg_pool1d"):
        yield one(op, "padding", t((2, 3, 11)), pool_size=[3], strides=[2], padding=[1, 1], count_include_pad=False)
    for op in ("nn.max_pool3d", "nn.avg_pool3d"):
        yield one(op, "strides", t((1, 2, 5, 6, 7)), pool_size=[2, 2, 2], strides=[2, 2, 2], count_include_pad=False)
    yield one("nn.adaptive_avg_pool2d", "global", image, output_size=[1, 1])
    yield one("nn.adaptive_avg_pool2d", "uneven", image, output_size=[4, 3])
    yield one("nn.adaptive_avg_pool1d", "uneven", t((2, 3, 11)), output_size=[4])
    yield one("nn.adaptive_avg_pool1d", "global", t((2, 3, 11)), output_size=[1])
    yield one("nn.adaptive_avg_pool3d", "global", t((1, 2, 3, 4, 5)), output_size=[1, 1, 1])
    yield one("nn.adaptive_avg_pool3d", "uneven", t((1, 2, 5, 4, 7)), output_size=[2, 3, 4])
    for exclude in (0, 1):
        yield one("image.resize2d", f"cubic{', nothing from outside' * exclude}", t((1, 2, 5, 7)), size=(11, 9),
                  method="cubic", coordinate_transformation_mode="half_pixel", layout="NCHW", cubic_alpha=-0.75,
                  cubic_exclude=exclude)  # fmt: skip
    for mode in ("half_pixel", "asymmetric", "align_corners"):
        yield one("image.resize2d", f"linear, {mode}", t((1, 2, 5, 7)), size=(11, 9), method="linear",
                  coordinate_transformation_mode=mode, layout="NCHW")  # fmt: skip
    yield one("image.resize2d", "nearest, twice", t((1, 2, 5, 7)), size=(10, 14), method="nearest_neighbor",
              coordinate_transformation_mode="asymmetric", rounding_method="floor", layout="NCHW")  # fmt: skip


CASES = tuple(_cases())
