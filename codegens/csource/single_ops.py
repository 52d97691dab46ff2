"""The families whose patterns are single ops."""

from __future__ import annotations

from typing import Any

from byoc_codegens.csource import (
    activation,
    arg_reduce,
    batch_norm,
    cast,
    compare,
    concat,
    elementwise,
    fill,
    gather,
    half_linear,
    kv_cache,
    language,
    norm,
    packed_linear,
    pad,
    quantize,
    reduce,
    repeat,
    reshape,
    resize,
    scan,
    scatter,
    slice,
    softmax,
    transpose,
)

SINGLE_OPS: tuple[Any, ...] = (
    elementwise, activation, compare, cast, reshape, transpose, slice, concat, repeat, pad, gather, scatter,
    reduce, arg_reduce, scan, softmax, norm, batch_norm, resize, fill, quantize, kv_cache, language, packed_linear,
    half_linear,
)  # fmt: skip
