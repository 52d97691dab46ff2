"""Activations: special values, tails of vectors, dynamic sizes."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Any

from byoc.conformance.case import Case
from byoc.conformance.cases.make import SIZES, one, t, w

_OPS: dict[str, dict[str, Any]] = {
    "nn.relu": {}, "nn.leakyrelu": {"alpha": 0.1}, "nn.gelu": {}, "nn.gelu_tanh": {}, "nn.silu": {}, "nn.selu": {},
    "nn.softplus": {"beta": 1.0, "threshold": 20.0}, "clip": {"min": -0.5, "max": 1.5},
}  # fmt: skip


def _cases() -> Iterator[Case]:
    for op, attrs in _OPS.items():
        yield one(op, "odd size", t((3, 7, 11)), **attrs)
        yield one(op, "one element", t((1,)), **attrs)
        yield one(op, "dynamic", t(("n", 3)), sizes=SIZES, **attrs)
        yield one(op, "float16", t((5, 9), "float16"), **attrs)
    for op in ("nn.relu", "clip"):
        yield one(op, "special values", t((9, 17), fill="special"), **_OPS[op])
        yield one(op, "empty", t((0, 3)), **_OPS[op])
    yield one("clip", "only below", t((9, 17), fill="special"), min=-0.5, max=inf)
    yield one("clip", "only above", t((9, 17), fill="special"), min=-inf, max=1.5)
    yield one("nn.relu", "int8", t((33,), "int8"))
    yield one("clip", "int8", t((33,), "int8"), min=-3, max=4)
    yield one("nn.relu", "large, threads", t((64, 1023)), threads=True)
    yield one("nn.prelu", "slope by channel", t((2, 3, 5)), w((3,), name="slope"), axis=1)


CASES = tuple(_cases())
