"""What each layer's cache costs in accuracy when it alone is kept in a low format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from byoc.llm.config import ModelConfig
from byoc.llm.kv_spec import KVSpec
from byoc.pareto.bootstrap import Bootstrap, Interval
from byoc.pareto.configuration import Configuration
from byoc.pareto.search import Trials
from byoc.pareto.space import MixedPrecision


@dataclass(frozen=True)
class Sensitivity:
    """Loss of every layer in percent, by layer, when that one is kept as `low` says and the others as the reference."""

    mixed: MixedPrecision
    losses: tuple[Interval, ...]

    @property
    def ranking(self) -> list[int]:
        """Layers, the most sensitive first."""
        return sorted(range(len(self.losses)), key=lambda i: (-self.losses[i].value, i))


def measure_sensitivity(
    mixed: MixedPrecision, config: ModelConfig, reference: Configuration, trials: Trials, bootstrap: Bootstrap
) -> Sensitivity:
    """One trial for each layer, at all items."""
    alone = alone_in(mixed.low, config.layers, reference)
    outcomes = trials.outcomes("layers", alone)
    losses = [bootstrap.loss(o.items) if not o.error else Interval(float("inf"), 0.0, 0.0) for o in outcomes]
    return Sensitivity(mixed, tuple(losses))


def alone_in(low: str, layers: int, reference: Configuration) -> Sequence[Configuration]:
    """For each layer the reference with that one in the low format."""
    text = str(KVSpec.parse(low))
    return [Configuration(f"{reference.kv};{i}={text}", reference.weights, reference.chunk) for i in range(layers)]
