"""Measure what ops and composites cost on the host and on each target."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import mean
from typing import Any

import byoc
from byoc.artifact import EntryFunction
from byoc.partitioner.cost import CostModel
from byoc.partitioner.measured import MeasuredCosts, composite_key, op_key
from byoc.partitioner.plan import HOST, Plan
from byoc.partitioner.single import composites_apart
from byoc.profile.report import Profile, profile

Inputs = Callable[[EntryFunction], Mapping[str, Any]]


def measure_costs(
    model: Any,
    targets: Sequence[str],
    make_inputs: Inputs,
    *,
    runs: int = 10,
    threads: int | None = None,
    mcpu: str | None = None,
    **planning: Any,
) -> MeasuredCosts:
    """Seconds of every op on the host and of every composite on each of the targets that takes it.

    The model is compiled for the host alone, then for each target with every composite in a partition of its own; a
    host kernel that fuses several ops is shared out among them as the cost model estimates them.

    Parameters
    ----------
    model, planning: as :func:`byoc.partition` takes them.
    make_inputs: arrays to run an entry function on.
    runs: how often each artifact is run; see :func:`byoc.profile.profile`.

    Raises
    ------
    as :func:`byoc.partition`, :func:`byoc.compile` and :meth:`byoc.runtime.Session.run`.
    """
    options = dict(planning.pop("options", None) or {})
    known: dict[str, Mapping[str, float]] = {}
    for target in (HOST, *targets):
        names = [] if target == HOST else [target]
        chosen = {target: options[target]} if target in options else {}
        plan = byoc.partition(model, names, options=chosen, **planning)
        apart = composites_apart(plan, plan.model.graphs)
        artifact = byoc.compile(apart, mcpu=mcpu, use_cache=False)
        done = Plan.from_json(artifact.plan_json)
        samples: dict[str, list[float]] = {}
        with artifact.session(threads) as session:
            for entry in session.entry_functions:
                measured = profile(session, make_inputs(entry), entry=entry.name, runs=runs)
                _collect(target, measured, done, plan, samples)
        known[target] = {key: mean(times) for key, times in sorted(samples.items())}
    return MeasuredCosts(known)


def _collect(target: str, measured: Profile, done: Plan, plan: Plan, samples: dict[str, list[float]]) -> None:
    graph = plan.model.graphs[measured.entry]
    function = next(f for f in done.functions if f.name == measured.entry)
    if target != HOST:
        parts = {part.symbol: part for part in function.partitions}
        for row in measured.partitions:
            nodes = [graph.nodes[i] for i in parts[row.symbol].ops]
            samples.setdefault(composite_key(nodes), []).append(row.seconds)
        return
    model = CostModel(done.settings.nominal_dim)
    spent = dict.fromkeys(range(len(graph.nodes)), 0.0)
    for op in measured.ops:
        estimates = {i: model.on_host(graph.nodes[i]) for i in op.ops}
        for i, estimate in estimates.items():
            spent[i] += op.seconds * estimate / sum(estimates.values())
    for i, seconds in spent.items():
        samples.setdefault(op_key(graph.nodes[i]), []).append(seconds)
