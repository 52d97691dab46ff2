"""One way to compile a model: how the cache and the weights are kept, and how much is read at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from byoc.llm.config import ModelConfig
from byoc.llm.settings import Settings, parse_kv
from byoc.llm.weights import WeightSpec


@dataclass(frozen=True, order=True)
class Configuration:
    """What is searched for.

    Attributes
    ----------
    kv, weights: as ``--kv`` and ``--weights`` take them.
    chunk: most tokens that are read at a time; 0 for the whole context at once.
    """

    kv: str
    weights: str
    chunk: int

    def __str__(self) -> str:
        return f"{self.kv} {self.weights} {f'chunk {self.chunk}' if self.chunk else 'one chunk'}"

    def settings(self, config: ModelConfig, context: int) -> Settings:
        """Settings to compile with.  Raises :class:`UsageError`."""
        return Settings(
            kv=parse_kv(self.kv, config.layers),
            weights=WeightSpec.parse(self.weights),
            context=context,
            chunk=min(self.chunk or context, context),
        )

    def command(self, model: Path | str, context: int) -> str:
        """The command that compiles it; FILE in it stands for the calibration text."""
        kv = f"'{self.kv}'" if ";" in self.kv else self.kv
        chunk = min(self.chunk or context, context)
        flags = f"--kv {kv} --weights {self.weights} --context {context} --chunk {chunk}"
        if self.weights.startswith("awq") or "per-tensor" in self.kv:
            flags += " --calibrate FILE"
        return f"byoc compile {model} --target csource {flags}"

    def as_dict(self) -> dict[str, Any]:
        return {"kv": self.kv, "weights": self.weights, "chunk": self.chunk}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Configuration:
        return cls(str(values["kv"]), str(values["weights"]), int(values["chunk"]))
