"""What each choice costs by itself: configurations that differ on one axis only, held against each other."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from byoc.llm.kv_spec import CacheFormat, KVSpec
from byoc.pareto.bootstrap import Bootstrap, Interval
from byoc.pareto.configuration import Configuration
from byoc.pareto.evaluate import Outcome
from byoc.pareto.space import AXES


@dataclass(frozen=True)
class Effect:
    """What `value` in the place of `than` changes on one axis, all else being equal.

    Attributes
    ----------
    pairs: of configurations; what stands below is the mean over them.
    loss: points of loss more, negative where `value` is better.
    cache, memory: bytes more of the cache, and in all.
    """

    axis: str
    value: Any
    than: Any
    pairs: int
    loss: Interval
    cache: float
    memory: float


def effects(outcomes: Sequence[Outcome], bootstrap: Bootstrap) -> list[Effect]:
    """For every two values of every axis that some configurations differ by alone, in the order of the axes."""
    points = [(point_of(o.configuration), o) for o in outcomes]
    placed = [(p, o) for p, o in points if p is not None]
    found = []
    for axis in AXES:
        rest: dict[tuple[Any, ...], dict[Any, Outcome]] = {}
        for point, outcome in placed:
            rest.setdefault(tuple(point[a] for a in AXES if a != axis), {})[point[axis]] = outcome
        values = sorted({point[axis] for point, _ in placed})
        for than, value in itertools.combinations(values, 2):
            pairs = [(same[value], same[than]) for same in rest.values() if value in same and than in same]
            if pairs:
                found.append(_effect(axis, value, than, pairs, bootstrap))
    return found


def point_of(configuration: Configuration) -> Mapping[str, Any] | None:
    """Its value on every axis; None where layers, or keys and values, differ in more than bits."""
    if ";" in configuration.kv:
        return None
    spec = KVSpec.parse(configuration.kv)
    forms = [form for form in (spec.keys, spec.values) if not form.is_float] or [CacheFormat(8)]
    if len({(form.granularity, form.group, form.symmetric) for form in forms}) > 1:
        return None
    return {
        "bits": f"k{spec.keys.bits}v{spec.values.bits}",
        "granularity": forms[0].granularity,
        "group": forms[0].group,
        "key_transform": spec.key_transform,
        "weights": configuration.weights,
        "chunk": configuration.chunk,
    }


def _effect(axis: str, value: Any, than: Any, pairs: Sequence[tuple[Outcome, Outcome]], bootstrap: Bootstrap) -> Effect:
    memories = [(a.memory, b.memory) for a, b in pairs if a.memory and b.memory]
    return Effect(
        axis, value, than, len(pairs), bootstrap.mean_difference([(a.items, b.items) for a, b in pairs]),
        float(np.mean([a.cache - b.cache for a, b in memories])),
        float(np.mean([a.total - b.total for a, b in memories])),
    )  # fmt: skip
