"""An artifact as an engine."""

from __future__ import annotations

import math
import time

from byoc.llm.bench.engine import EngineSpec
from byoc.llm.session import load


class ByocEngine:
    """Every sequence of the artifact's batch reads the same tokens."""

    def __init__(self, spec: EngineSpec) -> None:
        self.session = load(spec.file, threads=spec.threads, verify_key=spec.verify_key or None)

    def read(self, tokens: list[int]) -> float:
        self.session.reset()
        begin = time.perf_counter()
        self.session.prefill([tokens] * self.session.batch)
        return time.perf_counter() - begin

    def decode(self, tokens: list[int]) -> float:
        held = int(self.session.lengths[0])
        begin = time.perf_counter()
        for token in tokens:
            self.session.decode([token] * self.session.batch)
        seconds = time.perf_counter() - begin
        self.session.truncate(held)
        return seconds

    def step_bytes(self, held: int) -> int:
        return self._weight_bytes() + self._cache_bytes(held)

    def _weight_bytes(self) -> int:
        """All weights but the embedding, of which a step reads a row."""
        vocabulary = self.session.vocabulary
        weights = self.session.session.manifest.weights
        embedding = max((w.nbytes for w in weights if w.dtype.startswith("float") and _is_table(w.shape, vocabulary)),
                        default=0)  # fmt: skip
        return sum(w.nbytes for w in weights) - embedding

    def _cache_bytes(self, held: int) -> int:
        total = 0.0
        for pair, window in zip(self.session.cache.layouts, self.session.cache.windows, strict=True):
            seen = min(held, window) if window else held
            for layout in pair:
                planes = sum(layout.size(p) for p in ("data", "scale", "minimum"))
                total += planes * min(1.0, seen / layout.capacity) + layout.size("residual") + layout.size("mean")
        heads = int(self.session.facts["kv_heads"])
        return math.ceil(total * heads * self.session.batch)


def _is_table(shape: tuple[int, ...], vocabulary: int) -> bool:
    return len(shape) == 2 and shape[0] == vocabulary
