"""The search space: a readable file of axes, constraints, and which layers may keep more bits."""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from byoc.errors import UsageError
from byoc.llm.config import ModelConfig
from byoc.llm.kv_spec import KVSpec, check_fits
from byoc.llm.settings import parse_kv
from byoc.llm.weights import WeightSpec, group_of
from byoc.pareto.configuration import Configuration
from byoc.pareto.constraint import Constraint

AXES = ("bits", "granularity", "group", "key_transform", "weights", "chunk")
NAMES = ("k_bits", "v_bits", "granularity", "group", "key_transform", "weights", "chunk")


@dataclass(frozen=True)
class MixedPrecision:
    """Layers in two formats: the `layers` most sensitive ones as `keep` says, the others as `low` says."""

    low: str
    keep: str
    layers: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class SearchSpace:
    """Axes as lists of values; see docs/pareto.md.

    Attributes
    ----------
    bits: such as ``"k8v4"``.  granularity, group, key_transform: of integer caches; group 0 is the whole head.
    weights: as ``--weights`` takes them.  chunk: 0 for the whole context at once.
    constraints: conditions that every configuration meets.
    reference: what losses are relative to.
    mixed: mixed precisions to try.
    """

    bits: tuple[str, ...] = ("k16v16", "k8v8", "k8v4", "k8v2", "k4v4", "k4v2", "k2v2")
    granularity: tuple[str, ...] = ("per-token",)
    group: tuple[int, ...] = (32,)
    key_transform: tuple[str, ...] = ("none",)
    weights: tuple[str, ...] = ("f16", "rtn8:g32", "rtn4:g32")
    chunk: tuple[int, ...] = (256,)
    constraints: tuple[str, ...] = ("k_bits >= v_bits",)
    reference: Configuration = field(default_factory=lambda: Configuration("k16v16", "f32", 256))
    mixed: tuple[MixedPrecision, ...] = field(default_factory=tuple)

    def configurations(self, config: ModelConfig) -> list[Configuration]:
        """All that fit the model and meet the constraints, each once, in the order of the axes.

        Raises :class:`UsageError` where an axis has a value that does not exist, or nothing is left.
        """
        constraints = [Constraint(text, NAMES) for text in self.constraints]
        found: dict[Configuration, None] = {}
        for values in itertools.product(*(getattr(self, axis) for axis in AXES)):
            made = self.make(dict(zip(AXES, values, strict=True)), config, constraints)
            if made is not None:
                found[made] = None
        if not found:
            raise UsageError("no configuration is left", "the constraints exclude all", "loosen them")
        return list(found)

    def make(
        self, values: Mapping[str, Any], config: ModelConfig, constraints: Sequence[Constraint]
    ) -> Configuration | None:
        """The configuration of one point, None where it does not fit the model or breaks a constraint."""
        spec = KVSpec.parse(str(values["bits"]))
        named = {**values, "k_bits": spec.keys.bits, "v_bits": spec.values.bits}
        if not all(c.holds(named) for c in constraints):
            return None
        granularity = str(values["granularity"])
        group = [] if granularity == "per-tensor" else [f"g{values['group']}"]  # one scale has no groups
        options = [granularity, *group, str(values["key_transform"])]
        if spec.keys.is_float and spec.values.is_float:
            options = []
        elif spec.keys.is_float:
            options.pop()  # a transform serves quantised keys only
        spec = KVSpec.parse(":".join([str(values["bits"]), *options]))
        weights = WeightSpec.parse(str(values["weights"]))
        linear = (config.hidden, config.intermediate, config.heads * config.head_dim)
        try:
            check_fits(spec, config.head_dim)
            for inputs in () if weights.is_float else linear:
                group_of(inputs, weights.group)
        except UsageError:
            return None
        return Configuration(str(spec), str(weights), int(values["chunk"]))

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

    def checked_mixed(self, config: ModelConfig) -> None:
        """Raise :class:`UsageError` where a mixed precision does not fit the model."""
        for mixed in self.mixed:
            for text in (mixed.low, mixed.keep):
                check_fits(KVSpec.parse(text), config.head_dim)
            if not all(0 < n < config.layers for n in mixed.layers):
                raise UsageError(
                    f"mixed precision names {list(mixed.layers)} layers, the model has {config.layers}",
                    "it keeps some layers, not none or all",
                    f"use numbers from 1 to {config.layers - 1}",
                )

    def mixed_configurations(
        self, config: ModelConfig, rankings: Mapping[MixedPrecision, Sequence[int]]
    ) -> list[Configuration]:
        """The mixed precisions, where layers are ranked by sensitivity, the most sensitive first."""
        found: dict[Configuration, None] = {}
        for mixed, ranking in rankings.items():
            low, keep = (str(KVSpec.parse(t)) for t in (mixed.low, mixed.keep))
            for count, weights, chunk in itertools.product(mixed.layers, self.weights, self.chunk):
                layers = ",".join(str(i) for i in sorted(ranking[:count]))
                text = f"{low};{layers}={keep}"
                parse_kv(text, config.layers)
                found[Configuration(text, str(WeightSpec.parse(weights)), chunk)] = None
        return list(found)


def read_space(path: Path | None) -> tuple[SearchSpace, dict[str, dict[str, Any]]]:
    """A search space and the options of tasks, from a TOML or YAML file; the usual space without a file.

    Raises :class:`UsageError`.
    """
    if path is None:
        return SearchSpace(), {}
    values = _read(path)
    tasks = values.pop("tasks", {})
    mixed = values.pop("mixed", [])
    reference = values.pop("reference", None)
    unknown = set(values) - {*AXES, "constraints"}
    if unknown:
        known = ", ".join((*AXES, "constraints", "reference", "mixed", "tasks"))
        raise UsageError(f'{path} has an unknown entry "{min(unknown)}"', f"it may have {known}", "correct its name")
    try:
        lists: dict[str, Any] = {name: tuple(v) if isinstance(v, (list, tuple)) else (v,) for name, v in values.items()}
        made = replace(SearchSpace(), **lists, mixed=tuple(_mixed(m) for m in mixed))
        if reference is not None:
            made = replace(made, reference=Configuration.from_dict({"chunk": 256, **reference}))
        return made, {str(n): dict(o) for n, o in tasks.items()}
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise UsageError(f"{path} is no search space: {error}", "", "docs/pareto.md has an example") from None


def _mixed(values: Mapping[str, Any]) -> MixedPrecision:
    return MixedPrecision(str(values["low"]), str(values["keep"]), tuple(int(n) for n in values.get("layers", (1, 2))))


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read", str(error), "name a TOML or YAML file") from None
    try:
        if path.suffix in (".yaml", ".yml"):
            import yaml

            found = yaml.safe_load(text)
        else:
            toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
            found = toml.loads(text)
    except ImportError as error:
        raise UsageError(f"{path} cannot be read: {error}", "", 'pip install "byoc[pareto]"') from None
    except Exception as error:  # the parsers' own errors have no common base
        raise UsageError(f"{path} is malformed: {error}", "", "correct the file") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path} holds no entries", "", "docs/pareto.md has an example")
    return found
