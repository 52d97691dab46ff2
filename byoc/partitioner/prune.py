"""Send partitions back to the host that are too small, save too little, or are too many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from byoc.graph import Graph
from byoc.partitioner.assign import Assignment, Constraints
from byoc.partitioner.cost import CostModel
from byoc.partitioner.estimate import saving_of
from byoc.partitioner.merge import Group, Merged
from byoc.partitioner.plan import HOST, Settings, Verdict
from byoc.partitioner.target import Target


@dataclass(frozen=True)
class Planned:
    """One function on its way to a plan."""

    graph: Graph
    assignment: Assignment
    merged: Merged
    constraints: Constraints


def prune(
    functions: Sequence[Planned], targets: Mapping[str, Target], settings: Settings, model: CostModel
) -> list[dict[tuple[int, str], Verdict]]:
    """For each function the (op, target) pairs to forbid, each with its verdict; all empty when nothing is to prune.

    Partitions that hold an op pinned to their target stay.
    """
    dropped: list[dict[tuple[int, str], Verdict]] = [{} for _ in functions]
    kept: list[tuple[float, int, int]] = []
    for f, planned in enumerate(functions):
        for g, group in enumerate(planned.merged.groups):
            if any(planned.constraints.pins.get(i, HOST) == group.owner for i in group.ops):
                continue
            reason = _too_small(planned, g, group, settings)
            saving = 0.0
            if not reason and (settings.min_saving > 0 or settings.max_partitions is not None):
                saving = saving_of(planned.graph, group, planned.assignment, targets[group.owner], model)
                if settings.min_saving > 0 and saving < settings.min_saving:
                    reason = (
                        "prune",
                        f"its partition would save {saving:.3g} s, less than min_saving={settings.min_saving:g}",
                    )
            if reason:
                _drop(dropped[f], group, *reason)
            else:
                kept.append((saving, f, g))
    limit = settings.max_partitions
    total = len(kept) + sum(len(p.merged.groups) for p in functions) - _considered(functions)
    if limit is not None and total > limit and not any(dropped):
        worst = sorted(kept, key=lambda k: (k[0], -k[1], -k[2]))[: total - limit]
        for saving, f, g in worst:
            text = f"its partition saves least ({saving:.3g} s) of {total}, more than max_partitions={limit}"
            _drop(dropped[f], functions[f].merged.groups[g], "prune", text)
    return dropped


def _considered(functions: Sequence[Planned]) -> int:
    return sum(
        not any(p.constraints.pins.get(i, HOST) == g.owner for i in g.ops) for p in functions for g in p.merged.groups
    )


def _too_small(planned: Planned, g: int, group: Group, settings: Settings) -> tuple[str, str] | None:
    if len(group.ops) >= settings.min_ops:
        return None
    count = len(group.ops)
    text = f"its partition would have {count} op{'s' * (count != 1)}, fewer than min_ops={settings.min_ops}"
    apart = planned.merged.kept_apart.get(g)
    if not apart:
        return "prune", text
    other = planned.merged.groups[apart[0]]
    node = planned.graph.nodes[other.ops[0]]
    return "merge", f"{text}; joining the one with {node.op} ({node.node}) would make a cycle through the host"


def _drop(dropped: dict[tuple[int, str], Verdict], group: Group, stage: str, reason: str) -> None:
    for i in group.ops:
        dropped[(i, group.owner)] = Verdict(group.owner, False, stage, reason)
