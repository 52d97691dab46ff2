"""Recall of tokens that are marked in given sequences."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from byoc.errors import UsageError
from byoc.pareto.tasks.task import Accuracy, Subject, known_options, shuffled

if TYPE_CHECKING:
    from byoc.llm.session import LanguageSession


class Recall(Accuracy):
    """Options: `file`, an ``.npz`` with ``ids_T`` int[rows, T] and ``answer_T`` bool[rows, T]; `length`, one T or all.

    The score is the fraction of marked tokens that the model ranks first, the ones before given to it.
    """

    def __init__(self, options: Mapping[str, Any], subject: Subject) -> None:
        chosen = known_options("recall", options, {"file": ..., "length": 0, "items": 0})
        try:
            with np.load(chosen["file"], allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise UsageError(f"{chosen['file']} cannot be read", str(error), "give an .npz file") from None
        lengths = sorted(int(n[4:]) for n in arrays if n.startswith("ids_") and n[4:].isdigit())
        lengths = [n for n in lengths if n <= subject.context and chosen["length"] in (0, n)]
        if not lengths or any(f"answer_{n}" not in arrays for n in lengths):
            raise UsageError(
                f"{chosen['file']} has no sequences of {chosen['length'] or f'at most {subject.context}'} tokens",
                "they stand in ids_T and answer_T",
                "choose another length, or a larger context",
            )
        rows = [(n, i) for n in lengths for i in range(len(arrays[f"ids_{n}"]))]
        order = shuffled(len(rows), subject.seed)[: chosen["items"] or None]
        self._rows = [
            (arrays[f"ids_{n}"][i].astype(np.int64), np.flatnonzero(arrays[f"answer_{n}"][i]))
            for n, i in (rows[k] for k in order)
        ]
        self.cells = [(f"{rows[k][0]} tokens", "recall") for k in order]

    def __len__(self) -> int:
        return len(self._rows)

    def run(self, session: LanguageSession, index: int) -> tuple[float, float]:
        tokens, places = self._rows[index]
        session.reset()
        logits = session.score(tokens[: places[-1]])[0]
        return float((logits[places - 1].argmax(-1) == tokens[places]).sum()), float(len(places))
