"""Measure what ops and composites cost on the host and on each target."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

import byoc
from byoc.artifact import Artifact, EntryFunction, OpenedArtifact
from byoc.graph import Graph
from byoc.partitioner.cost import CostModel
from byoc.partitioner.estimate import edge_seconds
from byoc.partitioner.match import find_matches
from byoc.partitioner.measured import MeasuredCosts, composite_key, op_key
from byoc.partitioner.plan import HOST, FunctionPlan, Plan
from byoc.partitioner.single import composites_apart
from byoc.partitioner.target import Target, find_targets
from byoc.profile.recorder import record
from byoc.profile.report import profile
from byoc.runtime import Session

Inputs = Callable[[EntryFunction], Mapping[str, Any]]
Samples = dict[str, list[float]]
Ops = tuple[int, ...]
Times = Mapping[Ops, float]

_LEAST_SHARE = 0.1  # of the time that a partition or composite takes: what is left without its call and its edges


@dataclass(frozen=True)
class CostProbe:
    """What is run to measure one owner: the model planned for it alone and, for a target, every composite apart."""

    owner: str
    plan: Plan
    whole: Artifact | OpenedArtifact
    apart: Artifact | OpenedArtifact | None = None


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

    The model is compiled for the host alone, then for each target twice: as it is planned for this target alone, and
    with every composite in a partition of its own.  What a partition takes, without its call and its edges, is shared
    out among its composites by what each takes apart; a host kernel that fuses several ops, by what the cost model
    estimates for each.  A composite that costs nothing by the cost model, such as a view, or an activation that the
    codegen computes with a product, has no share and keeps its zero.

    Parameters
    ----------
    model, planning: as :func:`byoc.partition` takes them.
    make_inputs: arrays to run an entry function on.
    runs: how often each artifact is run; see :func:`byoc.profile.profile`.

    Raises
    ------
    as :func:`byoc.partition`, :func:`byoc.compile` and :meth:`byoc.runtime.Session.run`.
    """
    probes = cost_probes(model, targets, mcpu=mcpu, **planning)
    return measured_costs(probes, make_inputs, runs=runs, threads=threads)


def cost_probes(model: Any, targets: Sequence[str], *, mcpu: str | None = None, **planning: Any) -> Iterator[CostProbe]:
    """Compile what :func:`measured_costs` runs; parameters and errors are those of :func:`measure_costs`."""
    options = dict(planning.pop("options", None) or {})
    for owner in (HOST, *targets):
        chosen = {owner: options[owner]} if owner in options else {}
        plan = byoc.partition(model, [] if owner == HOST else [owner], options=chosen, **planning)
        plans = [plan] if owner == HOST else [plan, composites_apart(plan, plan.model.graphs)]
        yield CostProbe(owner, plan, *(byoc.compile(p, mcpu=mcpu, use_cache=False) for p in plans))


def measured_costs(
    probes: Iterable[CostProbe], make_inputs: Inputs, *, runs: int = 10, threads: int | None = None
) -> MeasuredCosts:
    """Run what :func:`cost_probes` compiled."""
    known: dict[str, Mapping[str, float]] = {}
    for probe in probes:
        collect = _on_host if probe.apart is None else _on_target
        samples = collect(probe, make_inputs, runs, threads)
        known[probe.owner] = {key: mean(times) for key, times in sorted(samples.items())}
    return MeasuredCosts(known)


def _on_host(probe: CostProbe, make_inputs: Inputs, runs: int, threads: int | None) -> Samples:
    samples: Samples = {}
    model = CostModel(probe.plan.settings.nominal_dim)
    with probe.whole.session(threads) as session:
        for entry in session.entry_functions:
            graph = probe.plan.model.graphs[entry.name]
            spent = dict.fromkeys(range(len(graph.nodes)), 0.0)
            for kernel in profile(session, make_inputs(entry), entry=entry.name, runs=runs).ops:
                estimates = {i: model.on_host(graph.nodes[i]) for i in kernel.ops}
                for i, estimate in estimates.items():
                    spent[i] += kernel.seconds * estimate / sum(estimates.values())
            for i, seconds in spent.items():
                samples.setdefault(op_key(graph.nodes[i]), []).append(seconds)
    return samples


def _on_target(probe: CostProbe, make_inputs: Inputs, runs: int, threads: int | None) -> Samples:
    assert probe.apart is not None
    samples: Samples = {}
    (use,) = probe.plan.targets
    (target,) = find_targets([use.name], {use.name: dict(use.options)})
    model = CostModel(probe.plan.settings.nominal_dim)
    apart = _seconds_of_partitions(probe.apart, make_inputs, runs, threads)
    for name, whole in _seconds_of_partitions(probe.whole, make_inputs, runs, threads).items():
        graph = probe.plan.model.graphs[name]
        for ops, seconds in shared_out(graph, whole, apart[name], target, model).items():
            samples.setdefault(composite_key(graph.nodes[i] for i in ops), []).append(seconds)
    return samples


def shared_out(graph: Graph, whole: Times, apart: Times, target: Target, model: CostModel) -> dict[Ops, float]:
    """What each composite takes of the time of its partition.

    Parameters
    ----------
    whole, apart: seconds of the target's partitions by their ops, as they are planned and with every composite apart.
    """
    estimates = {c.ops: model.on_target(target, c.match) for c in find_matches(graph, target).candidates}
    shares: dict[Ops, float] = {}
    for ops, seconds in whole.items():
        inside = _without_edges(seconds, graph, ops, target, model)
        members = [o for o in apart if set(o) <= set(ops)]
        weights = [_without_edges(apart[o], graph, o, target, model) if estimates[o] else 0.0 for o in members]
        total = sum(weights) or 1.0
        shares |= {o: inside * weight / total for o, weight in zip(members, weights, strict=True)}
    return shares


def _without_edges(seconds: float, graph: Graph, ops: Ops, target: Target, model: CostModel) -> float:
    """What a partition takes besides what the cost model charges for its call and for what crosses its boundary."""
    return max(seconds - edge_seconds(graph, ops, target.codegen.peaks, model), _LEAST_SHARE * seconds)


def _seconds_of_partitions(
    artifact: Artifact | OpenedArtifact, make_inputs: Inputs, runs: int, threads: int | None
) -> dict[str, dict[Ops, float]]:
    """How long each partition takes, by entry function and by its ops: medians of the runs, after one to warm up."""
    with artifact.session(threads) as session:
        plan = Plan.from_json(session.plan_json)
        return {f.name: _medians(session, f, make_inputs, runs) for f in plan.functions}


def _medians(session: Session, function: FunctionPlan, make_inputs: Inputs, runs: int) -> dict[Ops, float]:
    inputs = make_inputs(next(e for e in session.entry_functions if e.name == function.name))
    session.run(inputs, entry=function.name)
    times: dict[str, list[float]] = {part.symbol: [] for part in function.partitions}
    for _ in range(runs):
        for call in record(session, inputs, function.name).calls:
            if call.symbol in times:
                times[call.symbol].append(call.seconds)
    return {part.ops: median(times[part.symbol]) for part in function.partitions}
