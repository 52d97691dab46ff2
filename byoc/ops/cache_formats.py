"""All that touches a cache must keep it in one format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tvm import relax

from byoc.errors import UnsupportedModelError
from byoc.llm.kv_layout import CacheLayout
from byoc.llm.kv_spec import FixedScale
from byoc.ops.kv_attrs import cache_layout
from byoc.ops.register import STATES

Kept = tuple[CacheLayout, FixedScale]
_READS = {"byoc.kv_append": ((0, ""),), "byoc.kv_attention": ((1, "k_"), (2, "v_"))}  # arguments, attributes' prefix


def check_cache_formats(functions: Mapping[str, relax.Function]) -> None:
    """Raise :class:`UnsupportedModelError` where two ops keep the same state in two formats.

    States of one name are one tensor, whichever entry function names them.
    """
    seen: dict[str, tuple[str, Kept]] = {}
    for name, function in functions.items():
        for state, kept in _uses(function):
            other, known = seen.setdefault(state, (name, kept))
            if known != kept:
                raise UnsupportedModelError(
                    f'the cache "{state}" is kept as {_text(known)} in {other} and as {_text(kept)} in {name}',
                    "entry functions share a cache by its name, and read what the others wrote",
                    "build all of them with one KVSpec, or give the caches two names",
                )


def _uses(function: relax.Function) -> Iterator[tuple[str, Kept]]:
    names = function.attrs[STATES] if function.attrs is not None and STATES in function.attrs else ()
    states: dict[Any, str] = {p: str(p.name) for p in function.params if str(p.name) in set(map(str, names))}
    body = function.body
    for binding in (b for block in body.blocks for b in block.bindings) if isinstance(body, relax.SeqExpr) else ():
        call: Any = binding.value
        if isinstance(call, relax.Var) and call in states:
            states[binding.var] = states[call]
        for at, prefix in _READS.get(str(getattr(getattr(call, "op", None), "name", "")), ()):
            if call.args[at] in states:
                yield states[call.args[at]], cache_layout(call.attrs, prefix)
                if not prefix:
                    states[binding.var] = states[call.args[at]]


def _text(kept: Kept) -> str:
    layout, fixed = kept
    scale = f", scale {fixed.scale:g}" if layout.form.granularity == "per-tensor" else ""
    mean = ", keys less their mean" if layout.mean else ""
    kind = f"{layout.form.bits}-bit floats" if layout.form.is_float else str(layout.form)
    return f"{kind}{mean}{scale}, {layout.capacity} tokens of {layout.head_dim} channels"
