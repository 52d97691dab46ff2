"""Moves: every axis, negative ones, odd sizes, item widths."""

from __future__ import annotations

from collections.abc import Iterator

from byoc.conformance.case import Case
from byoc.conformance.cases.make import SIZES, one, t, y


def _cases() -> Iterator[Case]:
    for dtype in ("float32", "int8", "int64"):
        yield one("permute_dims", f"matrix, {dtype}", t((5, 7), dtype), axes=[1, 0])
        yield one("concat", f"last axis, {dtype}", t((3, 5), dtype), y((3, 2), dtype), axis=1)
        yield one("reshape", f"{dtype}", t((3, 4, 5), dtype), shape=(5, 12))
    for axes in ((0, 2, 1), (2, 0, 1), (1, 2, 0)):
        yield one("permute_dims", f"{axes}", t((3, 5, 7)), axes=list(axes))
    yield one("permute_dims", "attention heads", t((2, 17, 3, 8)), axes=[0, 2, 1, 3])
    yield one("permute_dims", "dynamic", t(("n", 3)), axes=[1, 0], sizes=SIZES)
    yield one("concat", "first axis, the same tensor twice", t((3, 5)), t((3, 5)), axis=0)
    yield one("concat", "three, one empty", t((3, 5)), y((3, 0)), t((3, 2), name="z"), axis=1)
    yield one("concat", "dynamic", t(("n", 3)), y(("m", 3)), axis=0, sizes=SIZES)
    yield one("stack", "middle axis", t((3, 5)), y((3, 5)), axis=1)
    yield one("split", "sections", t((3, 12)), results=("s0.0", "s0.1", "s0.2"), indices_or_sections=3, axis=1)
    yield one("split", "at places", t((10, 3)), results=("s0.0", "s0.1", "s0.2"), indices_or_sections=[2, 7], axis=0)
    yield one("split", "one part is used", t((3, 12)), results=("s0.1",), indices_or_sections=3, axis=1)
    yield one("flatten", "rank 3", t((3, 5, 2)))
    yield one("squeeze", "two axes", t((1, 3, 1, 5)), axis=[0, 2])
    yield one("expand_dims", "two axes", t((3, 5)), axis=[0, 2])
    yield one("nn.batch_flatten", "rank 4", t((2, 3, 4, 5)))
    yield one("strided_slice", "steps", t((9, 11)), axes=[0, 1], begin=[1, 2], end=[8, 11], strides=[2, 3])
    yield one("strided_slice", "from the end", t((9, 11)), axes=[1], begin=[-4], end=[-1])
    yield one("strided_slice", "backwards", t((9, 11)), axes=[0], begin=[8], end=[-20], strides=[-2])
    yield one("strided_slice", "beyond the end", t((9, 11)), axes=[1], begin=[3], end=[100])
    yield one("flip", "last axis", t((3, 7)), axis=1)
    yield one("broadcast_to", "two axes", t((3, 1, 5)), shape=(2, 3, 4, 5))
    yield one("tile", "longer rank", t((3, 5)), repeats=[2, 1, 3])
    yield one("repeat", "axis", t((3, 5)), repeats=3, axis=1)
    yield one("repeat", "flattened", t((3, 5)), repeats=2)
    yield one("nn.pad", "constant", t((3, 5)), pad_width=[1, 2, 0, 3], pad_mode="constant", pad_value=1.5)
    yield one("nn.pad", "zeros", t((2, 3, 5)), pad_width=[0, 1, 2, 0, 3, 3], pad_mode="constant", pad_value=0.0)
    yield one("nn.pad", "reflect", t((2, 3, 5, 7)), pad_width=[0, 0, 0, 0, 1, 2, 2, 1], pad_mode="reflect")
    yield one("nn.pad", "edge", t((2, 3, 5)), pad_width=[0, 0, 0, 0, 2, 3], pad_mode="edge")


CASES = tuple(_cases())
