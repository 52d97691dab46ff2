"""Gathering and scattering: every axis, index types, repeated places."""

from __future__ import annotations

from collections.abc import Iterator

from byoc.conformance.case import Case, Operand
from byoc.conformance.cases.make import one, t


def _places(shape: tuple[int, ...], below: int, dtype: str = "int64") -> Operand:
    return Operand("indices", shape, dtype, f"index:{below}")


def _cases() -> Iterator[Case]:
    for dtype in ("int64", "int32"):
        yield one("take", f"rows, {dtype}", t((9, 5)), _places((7,), 9, dtype), axis=0, mode="fast")
    yield one("take", "last axis, a matrix of places", t((3, 9)), _places((2, 4), 9), axis=1, mode="fast")
    yield one("take", "nothing", t((9, 5)), _places((0,), 9), axis=0, mode="fast")
    yield one("take", "bytes", t((9, 5), "uint8"), _places((7,), 9), axis=0, mode="fast")
    yield one("gather_elements", "last axis", t((3, 9)), _places((3, 4), 9), axis=1)
    yield one("gather_elements", "first axis", t((9, 4)), _places((3, 4), 9), axis=0)
    yield one("gather_nd", "rows of a matrix", t((5, 7)), _places((4, 1), 5), batch_dims=0)
    yield one("gather_nd", "elements", t((5, 5, 3)), _places((4, 2), 5), batch_dims=0)
    updates = t((3, 1), name="updates")
    yield one("scatter_elements", "update", t((3, 9)), _places((3, 1), 9), updates, axis=1, reduction="update")
    many = t((8, 4), name="updates")
    yield one("scatter_elements", "add, places repeat", t((5, 4)), _places((8, 4), 5), many, axis=0, reduction="add")
    rows = t((6, 7), name="updates")
    yield one("scatter_nd", "add rows, places repeat", t((5, 7)), _places((6, 1), 5), rows, reduction="add")
    yield one("one_hot", "last axis", _places((3, 4), 5), on_value=1.0, off_value=0.0, depth=5, axis=-1)
    for op in ("tril", "triu"):
        yield one(op, "above", t((5, 7)), k=1)
        yield one(op, "below, batches", t((2, 7, 5)), k=-1)


CASES = tuple(_cases())
