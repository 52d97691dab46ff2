"""Questions with one right answer, in the format of GSM8K."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from byoc.pareto.tasks.task import Accuracy, Subject, complete, fitted, known_options, read_lines, shuffled

if TYPE_CHECKING:
    from byoc.llm.session import LanguageSession

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


class ExactMatch(Accuracy):
    """Options: `file`, JSONL with ``question`` and ``answer``, what counts after ``####``; `tokens` to answer in.

    Where the right answer is a number, the last number that the model writes must equal it; else the first line.
    """

    def __init__(self, options: Mapping[str, Any], subject: Subject) -> None:
        chosen = known_options("exact-match", options, {"file": ..., "items": 0, "tokens": 128})
        rows = read_lines(chosen["file"], "question", "answer")
        order = shuffled(len(rows), subject.seed)[: chosen["items"] or None]
        self._tokens = min(chosen["tokens"], subject.context // 2)
        self._subject = subject
        self._items = [
            (
                fitted(subject.encode(f"Question: {rows[i]['question']}\nAnswer:"), subject.context - self._tokens),
                str(rows[i]["answer"]).rsplit("####", 1)[-1].strip(),
            )
            for i in order
        ]

    def __len__(self) -> int:
        return len(self._items)

    def run(self, session: LanguageSession, index: int) -> tuple[float, float]:
        prompt, right = self._items[index]
        assert self._subject.tokenizer is not None
        return float(matches(self._subject.tokenizer.decode(complete(session, prompt, self._tokens)), right)), 1.0


def matches(text: str, right: str) -> bool:
    """Whether a completion gives the right answer."""
    if _NUMBER.fullmatch(right):
        text = text.split("\nQuestion:")[0]
        numbers = _NUMBER.findall(text)
        return bool(numbers) and float(numbers[-1].replace(",", "")) == float(right.replace(",", ""))
    lines = text.strip().splitlines()
    return bool(lines) and lines[0].strip() == right
