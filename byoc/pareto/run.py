"""From a model and a space to a report: reference, layers, trials, frontier, resident set and speed."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import byoc
from byoc.llm.checkpoint import Checkpoint
from byoc.llm.config import ModelConfig, read_config
from byoc.pareto.bootstrap import Bootstrap
from byoc.pareto.configuration import Configuration
from byoc.pareto.effects import effects
from byoc.pareto.evaluate import Outcome, Study, compile_configuration, tasks_of, thaw
from byoc.pareto.evolution import Evolution, evolve
from byoc.pareto.frontier import frontier
from byoc.pareto.memory import LONGEST, Memory, at_context, eager_baseline, tiled_baseline
from byoc.pareto.report import Report, heat_map
from byoc.pareto.resident import measure_resident
from byoc.pareto.search import Progress, Trials, halving, merged
from byoc.pareto.sensitivity import Sensitivity, alone_in, measure_sensitivity
from byoc.pareto.space import SearchSpace
from byoc.pareto.store import Store
from byoc.pareto.workers import Workers


@dataclass(frozen=True)
class Effort:
    """How a search goes.

    Attributes
    ----------
    exhaustive: up to so many configurations all are looked at; NSGA-II beyond.
    parts: parts of the items that halving goes through, the last one 1.
    resident: whether resident set and speed are measured of the reference and the frontier.
    """

    exhaustive: int = 128
    parts: tuple[float, ...] = (0.25, 1.0)
    evolution: Evolution = field(default_factory=Evolution)
    resident: bool = True


def search(
    study: Study, space: SearchSpace, effort: Effort, database: Path, workers: Workers, progress: Progress
) -> Report:
    """Search, and say what was found; what is in the database is not measured again.

    Raises :class:`UsageError`, and what reading the model raises.
    """
    config = read_config(study.folder)
    space = space.for_model(config)
    space.check_calibration(bool(study.calibrate))
    candidates = space.candidates(config)
    configurations = candidates.configurations
    tasks = list(zip((name for name, _ in study.tasks), tasks_of(study), strict=True))
    store = Store(database, study_key(study))
    try:
        trials = Trials(study, store, workers, progress)
        # All that is known to be needed, at once, so that no worker waits for the reference.
        small = configurations if len(configurations) <= effort.exhaustive else []
        alone = [c for m in candidates.mixed for c in alone_in(m.low, config.layers, space.reference)]
        trials.outcomes("first look", merged([space.reference], alone, small), effort.parts[0])
        reference = trials.reference(space.reference)
        bootstrap = Bootstrap(tasks, reference.items, study.seed)
        layers = [measure_sensitivity(m, config, space.reference, trials, bootstrap) for m in candidates.mixed]
        if len(configurations) > effort.exhaustive:
            configurations = evolve(candidates, trials, bootstrap, effort.evolution, study.seed)
        mixed = space.mixed_configurations(config.layers, {s.mixed: s.ranking for s in layers})
        found = halving(trials, merged([space.reference], configurations, mixed), bootstrap, effort.parts)
        found[space.reference] = reference
    finally:
        store.close()
    findings = Findings(reference, found, layers, candidates.left_out)
    return make_report(study, config, findings, bootstrap, effort, progress)


def study_key(study: Study) -> str:
    """SHA-256 of the model's files, the tasks with the files they name, the calibration text, the context and so on."""
    digest = hashlib.sha256(json.dumps([byoc.__version__, study.context, study.seed, study.targets]).encode())
    folder = Path(study.folder)
    paths = [folder / "config.json", folder / "tokenizer.json", *Checkpoint(folder).files]
    for name, options in study.tasks:
        thawed = thaw(options)
        files = {k: Path(v) for k, v in thawed.items() if isinstance(v, str) and k in ("file", "text")}
        digest.update(json.dumps([name, {k: v for k, v in thawed.items() if k not in files}]).encode())
        paths += files.values()
    if study.calibrate:
        paths.append(Path(study.calibrate))
    for path in paths:
        if path.is_file():
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@dataclass(frozen=True)
class Findings:
    """What a search measured.

    Attributes
    ----------
    outcomes: of all configurations that were looked at, the reference among them.
    left_out: why some of the space does not fit the model, with the number of configurations.
    """

    reference: Outcome
    outcomes: Mapping[Configuration, Outcome]
    layers: Sequence[Sensitivity]
    left_out: Mapping[str, int]


def make_report(
    study: Study, config: ModelConfig, findings: Findings, bootstrap: Bootstrap, effort: Effort, progress: Progress
) -> Report:
    """Intervals, the frontier among those that saw all items, and what is measured of it."""
    good = [o for o in findings.outcomes.values() if not o.error]
    reference = findings.reference.configuration
    whole = [o for o in good if all(len(o.items[n]) == len(t) for n, t in bootstrap.tasks)]
    made = frontier(whole, bootstrap)
    rows = [_row(o, made, bootstrap) for o in sorted(good, key=lambda o: (_memory(o).total, o.configuration))]
    if effort.resident:
        measured = [r for r in rows if r["frontier"] or Configuration.from_dict(r) == reference]
        for i, row in enumerate(measured):
            progress("resident", i, len(measured))
            row["resident"] = _resident(study, Configuration.from_dict(row))
    return Report(
        model=Path(study.folder).resolve().name,
        context=study.context,
        reference=reference.as_dict(),
        tasks=[{"name": n, "items": len(t), "higher": t.higher, "options": thaw(o)}
               for (n, o), (_, t) in zip(study.tasks, bootstrap.tasks, strict=True)],
        rows=rows,
        baselines=_baselines(config, study.context, rows),
        longer=_longer(config, study.context, [r for r in rows if r["frontier"]]),
        sensitivity=[{"low": s.mixed.low, "keep": s.mixed.keep, "losses": [asdict(i) for i in s.losses]}
                     for s in findings.layers],
        refused=[{**o.configuration.as_dict(), "error": o.error} for o in findings.outcomes.values() if o.error],
        left_out=[{"reason": reason, "count": count} for reason, count in findings.left_out.items()],
        effects=[asdict(effect) for effect in effects(good, bootstrap)],
    )  # fmt: skip


def _row(outcome: Outcome, made: dict[Configuration, Configuration | None], bootstrap: Bootstrap) -> dict[str, Any]:
    configuration = outcome.configuration
    better = made.get(configuration)
    counts = [(len(outcome.items[n]), len(t)) for n, t in bootstrap.tasks]
    return {
        **configuration.as_dict(),
        "frontier": configuration in made and better is None,
        "instead": None if better is None else str(better),
        "memory": _memory(outcome).as_dict(),
        "loss": asdict(bootstrap.loss(outcome.items)),
        "scores": {n: asdict(bootstrap.score(n, outcome.items)) for n, _ in bootstrap.tasks},
        "maps": {n: heat_map(t.cells, outcome.items[n]) for n, t in bootstrap.tasks if t.cells},
        "part": round(min(a / b for a, b in counts), 4),
    }


def _memory(outcome: Outcome) -> Memory:
    assert outcome.memory is not None
    return outcome.memory


def _resident(study: Study, configuration: Configuration) -> dict[str, Any] | None:
    with tempfile.TemporaryDirectory() as folder:
        measured = measure_resident(compile_configuration(study, configuration), Path(folder))
    return None if measured is None else asdict(measured)


def _baselines(config: ModelConfig, context: int, rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, int]]:
    chunk = next((r["chunk"] for r in rows if r["frontier"]), 0)
    return {
        "eager": eager_baseline(config, context).as_dict(),
        "tiled": tiled_baseline(config, context).as_dict(),
        f"tiled, chunk {chunk or context}": tiled_baseline(config, context, chunk).as_dict(),
    }


def _longer(config: ModelConfig, context: int, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Modelled totals of the frontier and the baselines, for the context and its doublings up to 128k."""
    result, before = [], context
    while context <= LONGEST:
        totals = {}
        for row in rows:
            configuration = Configuration.from_dict(row)
            settings, measured = configuration.settings(config, before), Memory.from_dict(row["memory"])
            totals[str(configuration)] = at_context(measured, config, settings, before, context).total
        baselines = {"eager": eager_baseline(config, context).total, "tiled": tiled_baseline(config, context).total}
        result.append({"context": context, "configurations": totals, "baselines": baselines})
        context *= 2
    return result
