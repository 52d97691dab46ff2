"""Engines by turns: A B C, A B C, ...; each in a process of its own."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from byoc.llm.bench.engine import EngineSpec, serve

_SETTLE = 0.05  # seconds in which the threads of the previous engine stop spinning


@dataclass(frozen=True)
class Effort:
    """What is measured, and how often.

    Attributes
    ----------
    contexts: tokens that are read, and behind which steps are timed.
    steps: of decoding in a round.
    rounds: turns of decoding at each context.
    prefill_rounds: turns of reading each context.
    """

    contexts: tuple[int, ...] = (128, 1024, 4096)
    steps: int = 32
    rounds: int = 5
    prefill_rounds: int = 3


@dataclass
class Timing:
    """One engine at one context: seconds per token by round, in the order in which they were measured.

    Attributes
    ----------
    step_bytes: weights and caches that one step reads; 0 where that is not known.
    error: why there are no times, or fewer.
    """

    engine: str
    context: int
    prefill: list[float] = field(default_factory=list)
    decode: list[float] = field(default_factory=list)
    step_bytes: int = 0
    error: str = ""

    @property
    def prefill_rate(self) -> float | None:
        """Tokens per second."""
        return 1 / median(self.prefill) if self.prefill else None

    @property
    def decode_rate(self) -> float | None:
        """Tokens per second."""
        return 1 / median(self.decode) if self.decode else None


class EngineProcess:
    """An engine in a process of its own; a context manager that ends it."""

    def __init__(self, spec: EngineSpec) -> None:
        start = multiprocessing.get_context("spawn")
        self.name = spec.name
        self._pipe, theirs = start.Pipe()
        self._process = start.Process(target=serve, args=(spec, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self.error = ""
        self._answer()

    def ask(self, method: str, argument: Any) -> Any:
        """The result, or None where the engine failed, now or before; `error` says why."""
        if self.error:
            return None
        try:
            self._pipe.send((method, argument))
        except OSError:
            self.error = f"its process ended with code {self._process.exitcode}"
            return None
        return self._answer()

    def _answer(self) -> Any:
        try:
            good, result = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(5)
            good, result = False, f"its process ended with code {self._process.exitcode}"
        if not good:
            self.error = result
        return result if good else None

    def __enter__(self) -> EngineProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.kill()
        self._process.join()


def measure(specs: Sequence[EngineSpec], vocabulary: int, effort: Effort) -> Iterator[list[Timing]]:
    """Per context, shortest first, a timing of each engine; what failed has its error in it."""
    random = np.random.default_rng(0)
    with ExitStack() as stack:
        engines = [stack.enter_context(EngineProcess(spec)) for spec in specs]
        for context in sorted(effort.contexts):
            text = random.integers(0, vocabulary, context).tolist()
            steps = random.integers(0, vocabulary, effort.steps).tolist()
            yield _at_context(engines, text, steps, effort)


def _at_context(engines: Sequence[EngineProcess], text: list[int], steps: list[int], effort: Effort) -> list[Timing]:
    timings = [Timing(engine.name, len(text)) for engine in engines]
    for engine in engines:
        engine.ask("read", text[: min(len(text), 64)])  # the first calls touch code and weights
        engine.ask("decode", steps[:2])
    for _ in range(effort.prefill_rounds):
        for engine, timing in zip(engines, timings, strict=True):
            _note(timing.prefill, engine, "read", text)
    for _ in range(effort.rounds):
        for engine, timing in zip(engines, timings, strict=True):
            engine.ask("decode", steps[:2])  # another engine had the processor's caches
            _note(timing.decode, engine, "decode", steps)
    for engine, timing in zip(engines, timings, strict=True):
        timing.step_bytes = engine.ask("step_bytes", len(text)) or 0
        timing.error = engine.error
    return timings


def _note(times: list[float], engine: EngineProcess, method: str, tokens: list[int]) -> None:
    time.sleep(_SETTLE)
    seconds = engine.ask(method, tokens)
    if seconds is not None:
        times.append(seconds / len(tokens))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """How many times faster ours are: the median of the ratios within rounds."""
    ratios = [b / a for a, b in zip(ours, theirs, strict=False)]
    return median(ratios) if ratios else None
