"""Reductions: every axis, long rows, tails, NaN, empty axes, integers."""

from __future__ import annotations

from collections.abc import Iterator

from byoc.conformance.case import Case
from byoc.conformance.cases.make import SIZES, one, t


def _cases() -> Iterator[Case]:
    for op in ("sum", "mean", "max", "min", "prod"):
        fill = "unit" if op == "prod" else "normal"
        yield one(op, "last axis", t((5, 17), fill=fill), axis=[1], keepdims=False)
        yield one(op, "first axis, kept", t((5, 17), fill=fill), axis=[0], keepdims=True)
        yield one(op, "middle axis", t((3, 7, 5), fill=fill), axis=[1], keepdims=False)
        yield one(op, "two axes", t((2, 3, 5, 7), fill=fill), axis=[2, 3], keepdims=True)
        yield one(op, "negative axis", t((3, 5), fill=fill), axis=[-1], keepdims=False)
        yield one(op, "all", t((3, 5, 7), fill=fill), axis=None, keepdims=False)
        yield one(op, "dynamic", t((3, "n"), fill=fill), axis=[0], keepdims=False, sizes=SIZES)
    for op in ("sum", "max", "min"):
        yield one(op, "int32", t((5, 17), "int32"), axis=[1], keepdims=False)
        yield one(op, "empty axis", t((5, 0)), axis=[1], keepdims=False)
    for op in ("max", "min"):
        yield one(op, "NaN and infinities", t((40, 33), fill="special"), axis=[1], keepdims=False)
        yield one(op, "NaN and infinities, first axis", t((33, 40), fill="special"), axis=[0], keepdims=False)
    yield one("sum", "long rows, threads", t((8, 4099)), axis=[1], keepdims=False, threads=True)
    yield one("sum", "float16", t((5, 65), "float16"), axis=[1], keepdims=False)
    for op in ("variance", "std"):
        yield one(op, "last axis", t((5, 17)), axis=[1], keepdims=True)
        yield one(op, "two axes", t((2, 3, 5, 7)), axis=[2, 3], keepdims=True)
    for op in ("argmax", "argmin"):
        for axis in (0, 1, -1):
            yield one(op, f"axis {axis}", t((5, 17)), axis=axis, keepdims=False)
        yield one(op, "equal values: the first", t((3, 9), "int32", "zero"), axis=1, keepdims=True)
    for op in ("cumsum", "cumprod"):
        yield one(op, "last axis", t((5, 17), fill="unit"), axis=1, exclusive=False)
        yield one(op, "first axis, exclusive", t((5, 3), fill="unit"), axis=0, exclusive=True)


CASES = tuple(_cases())
