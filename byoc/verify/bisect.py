"""Narrow a bad partition down to the composite that is at fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import byoc
from byoc.difference import Difference
from byoc.partitioner.plan import Composite, Partition, Plan
from byoc.partitioner.single import cut
from byoc.runtime.state import State
from byoc.verify.check import carried_out, verify


@dataclass(frozen=True)
class Culprit:
    """The smallest part of a partition that is still wrong when it is fed with the oracle's inputs.

    `ops` are indices into the plan, `nodes` names in the model.  More than one pattern means that the composites are
    right one by one and wrong together.
    """

    symbol: str
    patterns: tuple[str, ...]
    ops: tuple[int, ...]
    nodes: tuple[str, ...]
    difference: Difference


def bisect(
    plan: Plan,
    symbol: str,
    inputs: Mapping[str, Any],
    *,
    entry: str = "main",
    tolerance: float | None = None,
    threads: int | None = None,
    state: State | None = None,
) -> tuple[Culprit, ...]:
    """The composites of partition `symbol` that are beyond tolerance by themselves.

    If all of them pass, halves of the partition are tried, and halves of a half that fails, until the parts pass.
    Empty when no part fails: then the fault shows only in the whole partition.
    """
    part = next(p for f in plan.functions for p in f.partitions if p.symbol == symbol)
    ordered = sorted(part.composites, key=lambda c: c.root)
    trial = _Trial(plan, part, inputs, entry, tolerance, threads, state)
    found = trial.failing([(c,) for c in ordered])
    if found:
        return tuple(culprit for _, culprit in found)
    suspects: list[tuple[Sequence[Composite], Culprit]] = []
    groups: list[Sequence[Composite]] = [ordered]
    while groups:
        halves = [half for g in groups if len(g) > 1 for half in (g[: len(g) // 2], g[len(g) // 2 :]) if len(half) > 1]
        failing = trial.failing(halves) if halves else []
        if not failing:
            break
        suspects, groups = failing, [group for group, _ in failing]
    return tuple(culprit for _, culprit in suspects)


@dataclass(frozen=True)
class _Trial:
    """Compiles the model with one partition cut into groups, and says which of them are wrong."""

    plan: Plan
    part: Partition
    inputs: Mapping[str, Any]
    entry: str
    tolerance: float | None
    threads: int | None
    state: State | None

    def failing(self, groups: Sequence[Sequence[Composite]]) -> list[tuple[Sequence[Composite], Culprit]]:
        whole = {c.root: c for c in self.part.composites}
        listed = {c.root for group in groups for c in group}
        rest = [(c,) for root, c in whole.items() if root not in listed]
        pieces = {self.part.symbol: [*groups, *rest]}
        plan = cut(self.plan, self.plan.model.graphs, pieces)
        artifact = byoc.compile(plan, use_cache=False)
        done = carried_out(plan, artifact)
        with artifact.session(self.threads) as session:
            result = verify(session, done, self.inputs, entry=self.entry, state=self.state)
        function = next(f for f in done.functions if f.name == self.entry)
        bad = {e.symbol: e for e in result.partitions if not e.passes(self.tolerance)}
        found: list[tuple[Sequence[Composite], Culprit]] = []
        for number, group in enumerate(groups):
            error = bad.get(f"{self.part.symbol}_c{number}")
            if error is not None:
                ops = tuple(sorted(i for c in group for i in c.ops))
                nodes = tuple(dict.fromkeys(function.ops[i].node for i in ops))
                patterns = tuple(c.pattern for c in group)
                found.append((group, Culprit(self.part.symbol, patterns, ops, nodes, error.worst)))
        return found
