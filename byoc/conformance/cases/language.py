"""Ops of language models: odd sizes, groups, positions, dynamic sizes, padding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from byoc.conformance.case import Case
from byoc.conformance.cases.make import SIZES, one, t, w


def _cases() -> Iterator[Case]:
    gate, up = t((3, 7, 11), name="gate"), t((3, 7, 11), name="up")
    yield one("byoc.swiglu", "odd size", gate, up)
    yield one("byoc.swiglu", "dynamic", t(("n", 5), name="gate"), t(("n", 5), name="up"), sizes=SIZES)
    yield one("byoc.swiglu", "large, threads", t((64, 1023), name="gate"), t((64, 1023), name="up"), threads=True)
    for size in (1, 2, 8, 128):
        yield one("byoc.hadamard", f"rows of {size}", t((5, 3, size)))
    yield one("byoc.hadamard", "dynamic", t(("n", 16)), sizes=SIZES)
    yield from _rope()
    for bits in (4, 8):
        yield from _linear(bits)
    yield from _linear_of_halves()


def _rope() -> Iterator[Case]:
    plain: dict[str, Any] = {"interleaved": 0, "factor": 1.0}
    lengths = t((2,), "int64", "index:50", name="lengths")
    frequencies = w((4,), fill="unit", name="frequencies")
    x = t((2, 5, 3, 8))
    yield one("byoc.rope", "halves", x, lengths, frequencies, **plain)
    yield one("byoc.rope", "interleaved, with a factor", x, lengths, frequencies, interleaved=1, factor=1.5)
    yield one("byoc.rope", "some channels stay", t((2, 5, 3, 14)), lengths, frequencies, **plain)
    yield one("byoc.rope", "dynamic", t((2, "n", 3, 8)), lengths, frequencies, sizes=SIZES, **plain)


def _linear(bits: int) -> Iterator[Case]:
    op = f"byoc.linear_w{bits}"

    def layer(what: str, rows: Any, inputs: int, outputs: int, group: int, scale: str = "float16", **more: Any) -> Case:
        """A layer of random integers; its input has `rows` rows."""
        exact = more.pop("exact", 0)
        operands = (
            t((rows, inputs)),
            w((outputs, inputs * bits // 8), "uint8", "large", name="packed"),
            w((outputs, inputs // group), scale, "unit", name="scale"),
            w((outputs, inputs // group), "uint8", f"index:{2**bits}", name="zero"),
        )
        return one(op, what, *operands, group=group, exact=exact, **more)

    yield layer("one row", 1, 64, 7, 32)
    yield layer("odd rows, one group", 5, 48, 9, 48)
    yield layer("scales of float32", 3, 64, 17, 16, "float32")
    yield layer("dynamic", "n", 32, 5, 8, sizes=SIZES)
    yield layer("inputs are not rounded", 2, 128, 40, 32, exact=1)
    yield layer("large, threads", 4, 256, 300, 64, threads=True)


def _linear_of_halves() -> Iterator[Case]:
    def layer(what: str, rows: Any, inputs: int, outputs: int, dtype: str = "float16", **more: Any) -> Case:
        weight = w((outputs, inputs), dtype, name="weight")
        return one("byoc.linear_w16", what, t((rows, inputs)), weight, **more)

    yield layer("one row", 1, 64, 7)
    yield layer("odd rows", 5, 47, 33)
    yield layer("bfloat16", 3, 40, 17, "bfloat16")
    yield layer("dynamic", "n", 32, 5, sizes=SIZES)
    yield layer("large, threads", 4, 256, 300, threads=True)


CASES = tuple(_cases())
