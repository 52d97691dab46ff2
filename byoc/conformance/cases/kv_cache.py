"""Attention over caches that are updated in place: calls in a row, padding, a state that is emptied."""

from __future__ import annotations

from collections.abc import Iterator

from byoc.conformance.case import Case, Operand, Step
from byoc.conformance.cases.make import t
from byoc.llm.kv_layout import cache_layouts
from byoc.llm.kv_spec import FixedScale, KVSpec
from byoc.ops.kv_attrs import append_attrs

_FIXED = FixedScale(0.05, -3.0)
_BATCH, _HEADS, _KV_HEADS, _CAPACITY = 2, 4, 2, 32
_SPECS = (
    "k32v32", "k16v16", "k8v8:g8", "k4v4:g4", "k4v2:g8", "k2v2:g4:symmetric", "k4v4:g4:k.per-channel",
    "k4v4:g4:per-block", "k8v8:g8:per-tensor", "k4v4:g8:mean",
)  # fmt: skip
# Tokens that come, and tokens that are held already: a prefill, steps of one token, one that fills several tiles.
_CALLS = ({"n": 5, "held": 0}, {"n": 1, "held": 5}, {"n": 1, "held": 6}, {"n": 9, "held": 7})


def _cases() -> Iterator[Case]:
    for spec in _SPECS:
        yield _attention(spec, spec)
    yield _attention("long rows", "k8v8:g16", dim=64)
    yield _attention("a window", "k8v4:g8", window=3)
    yield _attention("nothing comes", "k16v16", calls=(_CALLS[0], {"n": 0, "held": 5}, {"n": 2, "held": 5}))


def _attention(
    what: str, spec: str, *, dim: int = 8, window: int = 0, calls: tuple[dict[str, int], ...] = _CALLS
) -> Case:
    layouts = cache_layouts(KVSpec.parse(spec), dim, _CAPACITY)
    inputs = (
        t((_BATCH, "n", _HEADS, dim), name="query"),
        t((_BATCH, "n", _KV_HEADS, dim), name="k"),
        t((_BATCH, "n", _KV_HEADS, dim), name="v"),
        t((_BATCH,), "int64", "size:held", name="lengths"),
        t((_BATCH,), "int64", "size:n", name="counts"),
    )
    caches = tuple(
        Operand(f"{side}_cache", (_BATCH, _KV_HEADS, layout.nbytes), "uint8", "zero", state=True)
        for side, layout in zip("kv", layouts, strict=True)
    )
    append = [append_attrs(layout, _FIXED) for layout in layouts]
    both = {f"{side}_{key}": value for side, attrs in zip("kv", append, strict=True) for key, value in attrs.items()}
    steps = (
        Step("byoc.kv_append", ("k_cache", "k", "lengths", "counts"), append[0]),
        Step("byoc.kv_append", ("v_cache", "v", "lengths", "counts"), append[1]),
        Step("byoc.kv_attention", ("query", "s0", "s1", "lengths", "counts"),
             {"scale": dim**-0.5, "window": window, **both}),
    )  # fmt: skip
    return Case(f"byoc.kv_attention/{what}", (*inputs, *caches), steps, sizes=calls)


CASES = tuple(_cases())
