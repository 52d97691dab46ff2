"""The search space: axes, constraints, which layers may keep more bits, and what of it fits a model."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from byoc.errors import UsageError
from byoc.llm.config import ModelConfig
from byoc.llm.kv_spec import KVSpec, check_fits, largest_group
from byoc.llm.settings import parse_kv
from byoc.llm.weights import WeightSpec, group_of
from byoc.pareto.configuration import Configuration
from byoc.pareto.constraint import Constraint

AXES = ("bits", "granularity", "group", "key_transform", "weights", "chunk")
Point = tuple[Any, ...]
NAMES = ("k_bits", "v_bits", "granularity", "group", "key_transform", "weights", "chunk")


@dataclass(frozen=True)
class MixedPrecision:
    """Layers in two formats: the `layers` most sensitive ones as `keep` says, the others as `low` says."""

    low: str
    keep: str
    layers: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class Candidates:
    """What of a space fits a model.

    Attributes
    ----------
    space: without empty axes.
    by_point: the configuration of every point that fits, its values in the order of `AXES`; points can share one, such
        as those that differ in the group of a float cache.
    mixed: the mixed precisions that fit.
    left_out: reasons why others do not, with the number of configurations.
    """

    space: SearchSpace
    by_point: Mapping[Point, Configuration]
    mixed: tuple[MixedPrecision, ...]
    left_out: Mapping[str, int]

    @property
    def configurations(self) -> list[Configuration]:
        """Each once, in the order of the axes."""
        return list(dict.fromkeys(self.by_point.values()))


@dataclass(frozen=True)
class SearchSpace:
    """Axes as lists of values; see docs/pareto.md.

    Attributes
    ----------
    bits: such as ``"k8v4"``.  granularity, group, key_transform: of integer caches; group 0 is the whole head.
    weights: as ``--weights`` takes them.  chunk: tokens that are read at a time, 0 for the whole context at once.
    Empty groups and weights are filled by :meth:`for_model`.
    constraints: conditions that every configuration meets.
    reference: what losses are relative to.
    mixed: mixed precisions to try.
    """

    bits: tuple[str, ...] = ("k16v16", "k8v8", "k8v4", "k8v2", "k4v4", "k4v2", "k2v2")
    granularity: tuple[str, ...] = ("per-token",)
    group: tuple[int, ...] = ()
    key_transform: tuple[str, ...] = ("none",)
    weights: tuple[str, ...] = ()
    chunk: tuple[int, ...] = (256,)
    constraints: tuple[str, ...] = ("k_bits >= v_bits",)
    reference: Configuration = field(default_factory=lambda: Configuration("k16v16", "f32", 256))
    mixed: tuple[MixedPrecision, ...] = field(default_factory=tuple)

    def for_model(self, config: ModelConfig) -> SearchSpace:
        """With groups of 32 where an axis is empty, or what the model's heads and layers can be divided into."""
        try:
            _check_weights(WeightSpec.parse("rtn8:g32"), config)
            group = 32
        except UsageError:
            group = 0
        return replace(
            self,
            group=self.group or (largest_group(config.head_dim),),
            weights=self.weights or ("f16", f"rtn8:g{group}", f"rtn4:g{group}"),
        )

    def candidates(self, config: ModelConfig) -> Candidates:
        """Every point that meets the constraints, as a configuration where it fits the model.

        Raises :class:`UsageError` where an axis has a value that does not exist, or nothing is left.
        """
        constraints = [Constraint(text, NAMES) for text in self.constraints]
        by_point: dict[Point, Configuration] = {}
        misfits: dict[str, dict[Any, None]] = {}
        for point in itertools.product(*(getattr(self, axis) for axis in AXES)):
            values = dict(zip(AXES, point, strict=True))
            spec = KVSpec.parse(str(values["bits"]))
            if not all(c.holds({**values, "k_bits": spec.keys.bits, "v_bits": spec.values.bits}) for c in constraints):
                continue
            spec, weights = _cache(spec, values), WeightSpec.parse(str(values["weights"]))
            configuration = Configuration(str(spec), str(weights), int(values["chunk"]))
            try:
                check_fits(spec, config.head_dim)
                _check_weights(weights, config)
            except UsageError as error:
                misfits.setdefault(error.what, {})[configuration] = None
            else:
                by_point[point] = configuration
        mixed = tuple(m for m in self.mixed if _mixed_fits(m, config, misfits))
        if not by_point:
            raise UsageError("no configuration is left", next(iter(misfits), "the constraints exclude all"),
                             "change the axes, or loosen the constraints")  # fmt: skip
        return Candidates(self, by_point, mixed, {reason: len(found) for reason, found in misfits.items()})

    def check_calibration(self, given: bool) -> None:
        """Raise :class:`UsageError` where values need a calibration text and none is `given`."""
        kv = [*self.granularity, *(text for mixed in self.mixed for text in (mixed.low, mixed.keep)), self.reference.kv]
        needs = [w for w in (*self.weights, self.reference.weights) if w.startswith("awq")]
        needs += [text for text in kv if "per-tensor" in text]
        if needs and not given:
            raise UsageError(
                f'"{needs[0]}" cannot be searched without a calibration text',
                "its scales are chosen by what the model computes on it",
                "add --calibrate FILE, a text other than the one that is measured",
            )

    def mixed_configurations(
        self, layers: int, rankings: Mapping[MixedPrecision, Sequence[int]]
    ) -> list[Configuration]:
        """The mixed precisions of a model of so many layers, ranked by sensitivity, the most sensitive first."""
        found: dict[Configuration, None] = {}
        for mixed, ranking in rankings.items():
            low, keep = (str(KVSpec.parse(t)) for t in (mixed.low, mixed.keep))
            for count, weights, chunk in itertools.product(mixed.layers, self.weights, self.chunk):
                kept = ",".join(str(i) for i in sorted(ranking[:count]))
                text = f"{low};{kept}={keep}"
                parse_kv(text, layers)
                found[Configuration(text, str(WeightSpec.parse(weights)), chunk)] = None
        return list(found)


def _cache(spec: KVSpec, values: Mapping[str, Any]) -> KVSpec:
    """The bits of `spec` with what the other axes say of integers."""
    if spec.keys.is_float and spec.values.is_float:
        return spec
    granularity = str(values["granularity"])
    options = [str(values["bits"]), granularity]
    if granularity != "per-tensor":  # one scale has no groups
        options.append(f"g{values['group']}")
    if not spec.keys.is_float:  # a transform serves quantised keys only
        options.append(str(values["key_transform"]))
    return KVSpec.parse(":".join(options))


def _check_weights(weights: WeightSpec, config: ModelConfig) -> None:
    """Raise :class:`UsageError` where a group divides the inputs of some linear layer in no way."""
    if not weights.is_float:
        for inputs in (config.hidden, config.intermediate, config.heads * config.head_dim):
            group_of(inputs, weights.group)


def _mixed_fits(mixed: MixedPrecision, config: ModelConfig, misfits: dict[str, dict[Any, None]]) -> bool:
    """Whether its formats fit; a reason why not is put into `misfits`.

    Raises :class:`UsageError` where it keeps none or all of the layers.
    """
    if not all(0 < n < config.layers for n in mixed.layers):
        raise UsageError(
            f"mixed precision names {list(mixed.layers)} layers, the model has {config.layers}",
            "it keeps some layers, not none or all",
            f"use numbers from 1 to {config.layers - 1}",
        )
    try:
        for text in (mixed.low, mixed.keep):
            check_fits(KVSpec.parse(text), config.head_dim)
    except UsageError as error:
        misfits.setdefault(error.what, {})[mixed] = None
        return False
    return True
