"""Questions on long documents, in the format of LongBench, scored by the F1 of words."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from byoc.pareto.tasks.task import Accuracy, Subject, complete, fitted, known_options, read_lines, shuffled

if TYPE_CHECKING:
    from byoc.llm.session import LanguageSession

_ARTICLES = re.compile(r"\b(a|an|the)\b")


class LongQA(Accuracy):
    """Options: `file`, JSONL with ``context``, ``input`` and ``answers``; `tokens` to answer in; at most `items`.

    A document that does not fit loses its middle.  The score is that of the best of the answers.
    """

    def __init__(self, options: Mapping[str, Any], subject: Subject) -> None:
        chosen = known_options("long-qa", options, {"file": ..., "items": 0, "tokens": 32})
        rows = read_lines(chosen["file"], "context", "input", "answers")
        order = shuffled(len(rows), subject.seed)[: chosen["items"] or None]
        self._tokens = min(chosen["tokens"], subject.context // 2)
        self._subject = subject
        self._items = []
        for i in order:
            question = subject.encode(f"\n\nQuestion: {rows[i]['input']}\nAnswer:")
            document = subject.encode(str(rows[i]["context"]))
            room = max(subject.context - self._tokens - len(question), 0)
            prompt = [*fitted(document, room), *question][-(subject.context - self._tokens) :]
            self._items.append((prompt, [str(a) for a in rows[i]["answers"]]))

    def __len__(self) -> int:
        return len(self._items)

    def run(self, session: LanguageSession, index: int) -> tuple[float, float]:
        prompt, answers = self._items[index]
        assert self._subject.tokenizer is not None
        text = self._subject.tokenizer.decode(complete(session, prompt, self._tokens)).strip().split("\n")[0]
        return max((f1(text, answer) for answer in answers), default=0.0), 1.0


def f1(text: str, answer: str) -> float:
    """Harmonic mean of precision and recall of words, without case, punctuation and articles (SQuAD's)."""
    said, right = (Counter(_words(t)) for t in (text, answer))
    shared = sum((said & right).values())
    return 2 * shared / (sum(said.values()) + sum(right.values())) if shared else 0.0


def _words(text: str) -> list[str]:
    plain = "".join(c for c in text.lower() if c not in string.punctuation)
    return _ARTICLES.sub(" ", plain).split()
