"""Bytes that a configuration takes: measured on its artifact, modelled for contexts that cannot run here, baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from byoc.llm.config import ModelConfig
from byoc.llm.kv_layout import cache_layouts
from byoc.llm.settings import Settings

if TYPE_CHECKING:
    from byoc.llm.session import LanguageSession

ALLOCATION = "vm.builtin.alloc_storage"
LONGEST = 131_072


@dataclass(frozen=True)
class Memory:
    """Bytes: weights, cache, and activations, the storage that reading one chunk takes at its peak.

    `scores` is the matrix of attention scores that an eager implementation holds beside; byoc's attention has none.
    """

    weights: int
    cache: int
    activations: int
    scores: int = 0

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.activations + self.scores

    def as_dict(self) -> dict[str, int]:
        return {**asdict(self), "total": self.total}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Memory:
        return cls(*(int(values.get(n, 0)) for n in ("weights", "cache", "activations", "scores")))


def measure(session: LanguageSession, weights: int) -> Memory:
    """Of a loaded artifact: its `weights`, its states, and the storage that a full chunk or a decode step allocates."""
    return Memory(
        weights,
        session.cache.nbytes,
        max(_storage(session, count) for count in (session.chunk, 1)),
    )


def _storage(session: LanguageSession, count: int) -> int:
    """What the VM allocates for one call: the memory plan has merged tensors that do not live at the same time."""
    allocated = 0

    def note(function: Any, symbol: str, before: bool, result: Any, *arguments: Any) -> None:
        nonlocal allocated
        if before and symbol == ALLOCATION:
            allocated += int(arguments[1][0])

    session.reset()
    session.session.set_instrument(note)
    try:
        if count > 1:
            session.prefill([[0] * count] * session.batch)
        else:
            session.decode([0] * session.batch)
    finally:
        session.session.set_instrument(None)
        session.reset()
    return allocated


def at_context(measured: Memory, config: ModelConfig, settings: Settings, before: int, context: int) -> Memory:
    """What an artifact measured at a context of `before` takes when it is compiled for another one.

    The cache is exact.  Activations depend on the chunk only, and grow with the context where that is the chunk.
    """
    grown = measured.activations * context // before if settings.chunk >= before else measured.activations
    return Memory(measured.weights, cache_bytes(config, settings, context), grown)


def eager_baseline(config: ModelConfig, context: int) -> Memory:
    """Half precision throughout, the prompt read at once, with the matrix of scores of one layer."""
    tiled = tiled_baseline(config, context)
    return Memory(tiled.weights, tiled.cache, tiled.activations, 2 * config.heads * context * context)


def tiled_baseline(config: ModelConfig, context: int, chunk: int = 0) -> Memory:
    """Half precision throughout, attention in tiles, the prompt read at once or in chunks."""
    return Memory(
        2 * (linear_elements(config) + other_elements(config)),
        2 * 2 * config.layers * config.kv_heads * config.head_dim * context,
        activation_bytes(config, min(chunk or context, context), 2),
    )


def linear_elements(config: ModelConfig) -> int:
    """Weights of linear layers, the output layer included."""
    attention = config.hidden * config.head_dim * (2 * config.heads + 2 * config.kv_heads)
    return config.layers * (attention + 3 * config.hidden * config.intermediate) + (
        0 if config.tied else config.vocabulary * config.hidden
    )


def other_elements(config: ModelConfig) -> int:
    """Embedding and norms."""
    return config.vocabulary * config.hidden + (2 * config.layers + 1) * config.hidden


def cache_bytes(config: ModelConfig, settings: Settings, context: int) -> int:
    """Exact: the layouts of all layers, scales and padding included."""
    total = 0
    for layer, window in enumerate(config.windows):
        capacity = min(context, window + settings.chunk) if window else context
        pair = cache_layouts(settings.kv_of(layer), config.head_dim, capacity)
        total += settings.batch * config.kv_heads * sum(layout.nbytes for layout in pair)
    return total


def activation_bytes(config: ModelConfig, tokens: int, width: int) -> int:
    """Tensors at the widest place of a layer: the residual, its normalised copy, and gate and up or q, k, v."""
    attention = config.head_dim * (2 * config.heads + 2 * config.kv_heads)
    return width * tokens * (2 * config.hidden + max(2 * config.intermediate, attention))
