"""A language model in the middle of a sequence: caches that hold something, and the inputs of the next call."""

from __future__ import annotations

from typing import Any

import numpy as np

from byoc.llm.session import LanguageSession
from byoc.runtime import Session
from byoc.runtime.state import State

Array = np.ndarray[Any, Any]


def sequence_inputs(session: Session, entry: str, seed: int = 0) -> tuple[dict[str, Array], State]:
    """Random tokens for entry function `entry` of a language model, and a state that holds random ones already.

    A quarter of the context is read first, at most one chunk.
    """
    language = LanguageSession(session)
    generator = np.random.default_rng(seed)
    held = max(1, min(language.chunk, language.context // 4))
    count = 1 if entry == "decode" else held
    tokens = generator.integers(0, language.vocabulary, (language.batch, held + count))
    language.prefill(tokens[:, :held])
    inputs = {
        "tokens": np.ascontiguousarray(tokens[:, held:]),
        "lengths": language.lengths,
        "counts": np.full(language.batch, count),
    }
    if entry == "prefill":
        inputs["rows"] = np.arange(language.batch) * count + count - 1
    return inputs, language.cache.state
