"""The families whose patterns are single ops."""

from __future__ import annotations

from typing import Any

from byoc_codegens.csource import (
    activation,
    cast,
    compare,
    concat,
    elementwise,
    gather,
    pad,
    repeat,
    reshape,
    scatter,
    slice,
    transpose,
)

SINGLE_OPS: tuple[Any, ...] = (
    elementwise, activation, compare, cast, reshape, transpose, slice, concat, repeat, pad, gather, scatter,
)  # fmt: skip
