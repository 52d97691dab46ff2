"""What a deployer chooses when a language model is compiled."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from byoc.errors import UsageError
from byoc.llm.kv_spec import FixedScale, KVSpec
from byoc.llm.weights import WeightSpec

_MOST = 2**31 - 1  # of tokens or sequences: what sizes and places in a cache are computed from


@dataclass(frozen=True)
class Settings:
    """Choices of one compilation.

    Attributes
    ----------
    kv: how keys and values are kept; one specification for all layers, or one per layer.
    weights: how linear layers are kept.
    context: tokens that the cache holds for each sequence; 0 for what the model was made for.
    chunk: most tokens that one call of ``prefill`` takes.
    batch: sequences that run together.
    fixed_scales: per layer, of keys and of values, where a format is ``per-tensor``; calibration finds them where there
        are none.
    calibration: token ids of a text like those that the model will read; ``awq`` weights and ``per-tensor`` caches need
        them (see :func:`byoc.llm.read_calibration`).
    """

    kv: KVSpec | tuple[KVSpec, ...] = field(default_factory=KVSpec)
    weights: WeightSpec = field(default_factory=WeightSpec)
    context: int = 0
    chunk: int = 256
    batch: int = 1
    fixed_scales: tuple[tuple[FixedScale, FixedScale], ...] = ()
    calibration: tuple[int, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        for name, kind in (("kv", KVSpec), ("weights", WeightSpec)):
            value = getattr(self, name)
            if isinstance(value, str):
                raise UsageError(
                    f'Settings({name}="{value}") is a text',
                    f"it is a {kind.__name__}",
                    f'write byoc.llm.{kind.__name__}.parse("{value}")',
                )

    def sized(self, longest: int) -> Settings:
        """These settings with the context of a model that was made for `longest` tokens, where they say none, and
        chunks that are no longer.  Raises :class:`UsageError` for numbers that count nothing.
        """
        context = self.context or longest
        for name, value in (("context", context), ("chunk", self.chunk), ("batch", self.batch)):
            if not isinstance(value, int) or not 1 <= value <= _MOST:
                raise UsageError(f"{name} is {value}", "it counts tokens or sequences", f"give 1 to {_MOST:,}")
        return replace(self, context=context, chunk=min(self.chunk, context))

    def kv_of(self, layer: int) -> KVSpec:
        """The specification of one layer."""
        return self.kv if isinstance(self.kv, KVSpec) else self.kv[layer]

    @property
    def kv_text(self) -> str:
        """The specification as :func:`parse_kv` reads it."""
        if isinstance(self.kv, KVSpec):
            return str(self.kv)
        groups: dict[str, list[int]] = {}
        for layer, spec in enumerate(self.kv):
            groups.setdefault(str(spec), []).append(layer)
        common = max(groups, key=lambda text: len(groups[text]))
        rest = [f"{_ranges(layers)}={text}" for text, layers in groups.items() if text != common]
        return ";".join([common, *rest])


def parse_kv(text: str, layers: int) -> KVSpec | tuple[KVSpec, ...]:
    """One specification, or with exceptions for some layers: ``"k4v4:g32;0,6-7=k8v8:g32"``.

    Raises :class:`UsageError`.
    """
    base, *exceptions = text.split(";")
    common = KVSpec.parse(base)
    if not exceptions:
        return common
    specs = [common] * layers
    for exception in exceptions:
        where, equals, what = exception.partition("=")
        spec = KVSpec.parse(what) if equals else None
        chosen = _numbers(where, layers)
        if spec is None or not chosen:
            raise UsageError(
                f'"{exception}" in "{text}" names no layers of the model',
                f"its layers are 0 to {layers - 1}",
                'write layers and a specification, such as "0,6-7=k8v8:g32"',
            )
        for layer in chosen:
            specs[layer] = spec
    return tuple(specs)


def _numbers(text: str, layers: int) -> list[int]:
    """The layers that a text such as ``"0,6-7"`` names; none where it names others than the model's."""
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,9})(?:-([0-9]{1,9}))?\s*", part)
        if match is None:
            return []
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < layers:
            return []
        found += range(first, last + 1)
    return found


def _ranges(numbers: Sequence[int]) -> str:
    parts: list[list[int]] = []
    for n in numbers:
        if parts and parts[-1][1] == n - 1:
            parts[-1][1] = n
        else:
            parts.append([n, n])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in parts)
