"""What is measured: an artifact, or llama.cpp with a file of the same model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class EngineSpec:
    """An engine to start.

    Attributes
    ----------
    kind: ``byoc`` or ``llama.cpp``.
    file: an artifact, or a GGUF file.
    kv: how keys and values are kept; for llama.cpp ``f16``, ``q8_0``... for both.
    threads: that compute.
    context: tokens that the caches are to hold; an artifact's are of the size it was compiled for.
    verify_key: file of the public key that an artifact must be signed with; empty for any.
    """

    kind: str
    file: str
    kv: str
    threads: int
    context: int
    verify_key: str = ""

    @property
    def name(self) -> str:
        return f"{self.kind} {self.kv}"


class Engine(Protocol):
    """One sequence of tokens, and what reading and writing them takes."""

    def read(self, tokens: list[int]) -> float:
        """Forget all and read these; seconds."""

    def decode(self, tokens: list[int]) -> float:
        """Read these one by one, each as if it had just been chosen, then forget them again; seconds, together."""

    def step_bytes(self, held: int) -> int:
        """Bytes of weights and caches that one step reads behind `held` tokens; 0 where that is not known."""


def start(spec: EngineSpec) -> Engine:
    """Load the engine in this process."""
    if spec.kind == "byoc":
        from byoc.llm.bench.byoc_engine import ByocEngine

        return ByocEngine(spec)
    from byoc.llm.bench.llama_cpp import LlamaCpp

    return LlamaCpp(spec)


def serve(spec: EngineSpec, pipe: Any) -> None:
    """Answer requests ``(method, argument)`` over a pipe, the first answer when loaded; runs in a process of its own.

    Answers are ``(True, result)``, or ``(False, text)`` for an error, which ends it.
    """
    try:
        engine = start(spec)
        pipe.send((True, None))
        while True:
            method, argument = pipe.recv()
            pipe.send((True, getattr(engine, method)(argument)))
    except EOFError:
        return
    except Exception as error:  # whatever the library raises is this engine's result
        pipe.send((False, f"{type(error).__name__}: {error}"))
