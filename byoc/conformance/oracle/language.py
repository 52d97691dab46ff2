"""The ops of language models: ``byoc.rope``, ``byoc.linear_w4``, caches, and attention over them."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special
from scipy.linalg import hadamard

from byoc.conformance.oracle.define import Arrays, Attrs, Definition, wide
from byoc.llm import kv_reference
from byoc.ops.kv_attrs import cache_layout
from byoc.ops.linear import unpack
from byoc.ops.rope import rotate_reference


def _swiglu(arrays: Arrays, _: Attrs) -> Any:
    gate, up = (wide(a) for a in arrays)
    return gate * special.expit(gate) * up


def _hadamard(arrays: Arrays, _: Attrs) -> Any:
    x = wide(arrays[0])
    return x @ hadamard(x.shape[-1]) / np.sqrt(x.shape[-1])


def _rope(arrays: Arrays, attrs: Attrs) -> Any:
    x, lengths, frequencies = arrays
    return rotate_reference(wide(x), lengths, frequencies, bool(attrs["interleaved"]), attrs["factor"])


def _linear(bits: int) -> Definition:
    def product(arrays: Arrays, _: Attrs) -> Any:
        x, packed, scale, zero = arrays
        return wide(x) @ unpack(packed, scale, zero, bits).astype(np.float64).T

    def slack(arrays: Arrays, attrs: Attrs) -> float:
        """Unless `exact`, a kernel may round each input to one of 127 steps of the largest."""
        if attrs["exact"] or arrays[0].size == 0:
            return 0.0
        x, packed, scale, zero = arrays
        return float(np.abs(x).max() / 254 * np.abs(unpack(packed, scale, zero, bits)).sum(1).max())

    return Definition(product, "sum", lambda a, r: max(1, a[0].shape[-1]), slack)


def _linear_of_halves(arrays: Arrays, _: Attrs) -> Any:
    x, weight = arrays
    return wide(x) @ wide(weight).T


def _kv_append(arrays: Arrays, attrs: Attrs) -> Any:
    cache, new, lengths, counts = arrays
    layout, fixed = cache_layout(dict(attrs))
    updated = cache.copy()
    kv_reference.append(layout, updated, new, lengths, counts, fixed)
    return updated


def _kv_attention(arrays: Arrays, attrs: Attrs) -> Any:
    """Of caches that have not wrapped around."""
    query, *caches, lengths, counts = arrays
    sides = [cache_layout(dict(attrs), prefix) for prefix in ("k_", "v_")]
    result = np.zeros(query.shape)
    for b, (length, count) in enumerate(zip(lengths, counts, strict=True)):
        keys, values = (
            np.stack([kv_reference.read(layout, region, int(length + count), fixed) for region in cache[b]])
            for cache, (layout, fixed) in zip(caches, sides, strict=True)
        )
        result[b, :count] = kv_reference.attend(
            query[b, :count], keys, values, int(length), attrs["scale"], int(attrs["window"])
        )
    return result


OPS: dict[str, Definition] = {
    "byoc.swiglu": Definition(_swiglu, "transcendental"),
    "byoc.hadamard": Definition(_hadamard, "sum", lambda a, r: max(1, a[0].shape[-1])),
    "byoc.rope": Definition(_rope, "sum", lambda a, r: 16),
    "byoc.linear_w4": _linear(4),
    "byoc.linear_w8": _linear(8),
    "byoc.linear_w16": Definition(_linear_of_halves, "sum", lambda a, r: max(1, a[0].shape[-1])),
    "byoc.kv_append": Definition(_kv_append),
    "byoc.kv_attention": Definition(_kv_attention, "sum", lambda a, r: 16 * a[0].shape[-1]),
}
