"""Tensors made from attributes, or from the shape of another; each is used, so that every graph has an input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from byoc.conformance.case import Case, Operand, Step
from byoc.conformance.cases.make import one, t


def _added(op: str, what: str, x: Operand, **attrs: Any) -> Case:
    """The made tensor, and its sum with `x`."""
    steps = (Step(op, (), attrs), Step("add", (x.name, "s0")))
    return Case(f"{op}/{what}", (x,), steps, ("s0", "s1"))


def _cases() -> Iterator[Case]:
    for dtype in ("float32", "int32"):
        for op in ("zeros", "ones"):
            yield _added(op, dtype, t((3, 5), dtype), shape=(3, 5), dtype=dtype)
        yield _added("full", dtype, t((3, 5), dtype), shape=(3, 5), fill_value=(-7, dtype), dtype=dtype)
    yield _added("arange", "float32", t((7,)), start=-1.5, end=2.0, step=0.5, dtype="float32")
    yield _added("arange", "int64", t((5,), "int64"), start=-1, end=9, step=2, dtype="int64")
    for op in ("zeros_like", "ones_like"):
        yield one(op, "rank 3", t((2, 3, 5)))


CASES = tuple(_cases())
