"""Softmax and normalisations: every axis, odd rows, large values, dynamic sizes."""

from __future__ import annotations

from collections.abc import Iterator

from byoc.conformance.case import Case
from byoc.conformance.cases.make import SIZES, one, t, w


def _cases() -> Iterator[Case]:
    for op in ("nn.softmax", "nn.log_softmax"):
        yield one(op, "last axis", t((5, 17)), axis=-1)
        yield one(op, "middle axis", t((2, 7, 5)), axis=1)
        yield one(op, "first axis", t((7, 3)), axis=0)
        yield one(op, "one element", t((4, 1)), axis=-1)
        yield one(op, "dynamic", t(("n", 7)), axis=-1, sizes=SIZES)
        yield one(op, "float16", t((3, 9), "float16"), axis=-1)
    yield one("nn.softmax", "long rows, threads", t((16, 1027)), axis=-1, threads=True)
    gamma, beta = w((17,), name="gamma"), w((17,), name="beta")
    yield one("nn.layer_norm", "last axis", t((5, 17)), gamma, beta, axes=[-1], epsilon=1e-5)
    yield one("nn.layer_norm", "dynamic", t(("n", 17)), gamma, beta, axes=[-1], epsilon=1e-3, sizes=SIZES)
    yield one("nn.rms_norm", "last axis", t((5, 17)), gamma, axes=[-1], epsilon=1e-5)
    channels, shifts = w((6,), name="gamma"), w((6,), name="beta")
    image = t((2, 6, 3, 5))
    yield one(
        "nn.group_norm",
        "three groups",
        image,
        channels,
        shifts,
        num_groups=3,
        channel_axis=1,
        axes=[2, 3],
        epsilon=1e-5,
    )
    yield one("nn.instance_norm", "images", image, channels, shifts, channel_axis=1, axes=[2, 3], epsilon=1e-5)
    mean, variance = w((6,), name="mean"), w((6,), fill="positive", name="variance")
    yield one(
        "nn.batch_norm", "inference", image, channels, shifts, mean, variance, results=("s0.0",), axis=1, epsilon=1e-3,
        training=False,
    )  # fmt: skip


CASES = tuple(_cases())
