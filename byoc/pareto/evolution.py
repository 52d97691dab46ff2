"""NSGA-II over spaces that are too large to look at all of; optuna proposes, generation by generation."""

from __future__ import annotations

from dataclasses import dataclass

from byoc.errors import ToolchainError
from byoc.pareto.bootstrap import Bootstrap
from byoc.pareto.configuration import Configuration
from byoc.pareto.evaluate import Outcome
from byoc.pareto.search import Trials
from byoc.pareto.space import AXES, Candidates


@dataclass(frozen=True)
class Evolution:
    """How long it goes on: `trials` proposals in generations of `population`, each looking at `part` of the items."""

    trials: int = 64
    population: int = 16
    part: float = 0.5


def evolve(
    candidates: Candidates, trials: Trials, bootstrap: Bootstrap, how: Evolution, seed: int
) -> list[Configuration]:
    """Every configuration that was proposed and fits, in the order of proposal.

    It depends on the seed alone: a generation is told in the order in which it was asked, however its trials ended.
    After an interruption the same proposals are made again, and those that the store knows cost nothing.
    """
    try:
        import optuna
    except ImportError:
        raise ToolchainError(
            "a space this large is searched with the package optuna",
            "it is not installed",
            'pip install "byoc[pareto]"',
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.NSGAIISampler(population_size=how.population, seed=seed)
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    found: dict[Configuration, None] = {}
    for begin in range(0, how.trials, how.population):
        asked = [study.ask() for _ in range(min(how.population, how.trials - begin))]
        made = []
        for trial in asked:
            # Indices, so that optuna sees plain categories whatever an axis holds.
            axes = [(a, getattr(candidates.space, a)) for a in AXES]
            point = tuple(values[trial.suggest_categorical(a, range(len(values)))] for a, values in axes)
            made.append(candidates.by_point.get(point))
        wanted = [c for c in dict.fromkeys(made) if c is not None]
        stage = f"generation {begin // how.population + 1}"
        outcomes = {o.configuration: o for o in trials.outcomes(stage, wanted, how.part)}
        for trial, configuration in zip(asked, made, strict=True):
            outcome = outcomes.get(configuration) if configuration is not None else None
            if outcome is None or outcome.error:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, _objectives(outcome, bootstrap))
        found.update(dict.fromkeys(wanted))
    return list(found)


def _objectives(outcome: Outcome, bootstrap: Bootstrap) -> list[float]:
    assert outcome.memory is not None
    return [float(outcome.memory.total), bootstrap.loss(outcome.items).value]
