"""The caches that a partition updates in place: where they are among its arguments, and how far they are off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from byoc.difference import Difference, difference
from byoc.graph import Graph
from byoc.llm.kv_compare import numbers_in, step_of
from byoc.llm.kv_layout import CacheLayout
from byoc.llm.kv_spec import FixedScale
from byoc.lower.in_place import storage_of, updated_parameters
from byoc.ops import in_place_argument
from byoc.ops.kv_attrs import cache_layout

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class HeldCache:
    """A parameter that a partition appends tokens to.

    `lengths` and `counts` are the indices of the parameters with the tokens before and those that come; -1 where they
    are computed inside.
    """

    parameter: int
    name: str
    layout: CacheLayout
    fixed: FixedScale
    lengths: int
    counts: int


@dataclass(frozen=True)
class Updates:
    """What a partition does to its parameters.

    Attributes
    ----------
    parameters: indices of those that it updates.
    caches: those among them whose bytes are understood; the others are compared as they are.
    returned: indices of the results that lie in such a parameter and are no outputs of the call.
    """

    parameters: frozenset[int]
    caches: tuple[HeldCache, ...]
    returned: frozenset[int]


def updates_of(graph: Graph) -> Updates:
    """The updates of a partition's function."""
    place = {id(v): k for k, v in enumerate(graph.params)}
    caches: dict[int, HeldCache] = {}
    for node in graph.nodes:
        if node.op == "byoc.kv_append" and id(storage_of(node.outputs[0])) in place:
            parameter = place[id(storage_of(node.outputs[0]))]
            lengths, counts = (place.get(id(v), -1) for v in node.inputs[2:4])
            layout, fixed = cache_layout(node.attrs)
            name = graph.params[parameter].name
            caches[parameter] = HeldCache(parameter, name, layout, fixed, lengths, counts)
    returned = frozenset(
        k for k, v in enumerate(graph.returned) if v.producer is not None and in_place_argument(v.producer.op) >= 0
    )
    return Updates(updated_parameters(graph), tuple(caches.values()), returned)


def cache_differences(
    updates: Updates, arguments: Sequence[Array | None], got: dict[int, Array], want: dict[int, Array]
) -> tuple[Difference, ...]:
    """How far the parameters are off after a call; caches as numbers, which may be one step of their format off.

    `arguments` are those of the call, None for shapes; `got` and `want` the contents of the updated ones afterwards.
    """
    found = []
    known = {cache.parameter: cache for cache in updates.caches}
    for parameter in sorted(updates.parameters):
        cache = known.get(parameter)
        if cache is None:
            found.append(difference(f"argument {parameter}", got[parameter], want[parameter]))
            continue
        totals = _totals(cache, arguments, len(want[parameter]))
        left, right = (numbers_in(cache.layout, a[parameter], totals, cache.fixed) for a in (got, want))
        largest = float(np.abs(right).max(initial=0.0)) or 1.0
        bound = step_of(cache.layout, want[parameter], cache.fixed) * 1.001 / largest
        found.append(difference(f"cache {cache.name}", left, right, bound))
    return tuple(found)


def _totals(cache: HeldCache, arguments: Sequence[Array | None], batch: int) -> Array:
    """Tokens of each sequence after the call."""
    parts = [arguments[k] if k >= 0 else None for k in (cache.lengths, cache.counts)]
    if parts[0] is None or parts[1] is None:
        return np.full(batch, cache.layout.capacity)
    total: Array = parts[0] + parts[1]
    return total
