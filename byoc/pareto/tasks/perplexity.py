"""Perplexity on a text: windows that overlap, so that every scored token has a past."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from byoc.errors import UsageError
from byoc.pareto.tasks.task import Subject, known_options, log_probabilities, read_tokens, shuffled

if TYPE_CHECKING:
    from byoc.llm.session import LanguageSession


class Perplexity:
    """Options: `text`, a file, or token ids in an ``.npy`` file; `window` tokens at a time, of which the last `stride`
    count; at most `items` windows."""

    higher = False
    cells: Sequence[tuple[str, str]] = ()

    def __init__(self, options: Mapping[str, Any], subject: Subject) -> None:
        chosen = known_options("perplexity", options, {"text": ..., "window": 0, "stride": 0, "items": 64})
        window = min(chosen["window"] or subject.context, subject.context)
        stride = chosen["stride"] or max(window // 2, 1)
        if window < 2 or not 0 < stride < window:
            raise UsageError(
                f"windows of {window} tokens cannot advance by {stride}",
                "a window scores its last tokens after those before them",
                "use a stride from 1 to the window less one",
            )
        ids = np.asarray(read_tokens(chosen["text"], subject), np.int64)
        starts = range(0, len(ids) - window + 1, stride)
        if not starts:
            raise UsageError(
                f"{chosen['text']} has {len(ids)} tokens, a window {window}", "", "give a longer text or less window"
            )
        order = shuffled(len(starts), subject.seed)[: chosen["items"]]
        self._windows = [ids[starts[i] : starts[i] + window] for i in order]
        self._stride = stride

    def __len__(self) -> int:
        return len(self._windows)

    def run(self, session: LanguageSession, index: int) -> tuple[float, float]:
        window = self._windows[index]
        session.reset()
        logits = session.score(window)[0]
        found = log_probabilities(logits[-self._stride - 1 : -1], window[-self._stride :].tolist())
        return -float(found.sum()), float(self._stride)

    def score(self, ratio: float) -> float:
        return float(np.exp(ratio))
