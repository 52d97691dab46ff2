"""Questions with choices, in the format of MMLU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from byoc.errors import UsageError
from byoc.pareto.tasks.task import Accuracy, Subject, fitted, known_options, log_probabilities, read_lines, shuffled

if TYPE_CHECKING:
    from byoc.llm.session import LanguageSession

LETTERS = "ABCDEFGHIJ"


class Choice(Accuracy):
    """Options: `file`, JSONL with ``question``, ``choices`` and ``answer``, an index or a letter; at most `items`.

    The model is right where the letter of the answer is the likeliest after "Answer:".
    """

    def __init__(self, options: Mapping[str, Any], subject: Subject) -> None:
        chosen = known_options("choice", options, {"file": ..., "items": 0})
        rows = read_lines(chosen["file"], "question", "choices", "answer")
        self._items = []
        for i in shuffled(len(rows), subject.seed)[: chosen["items"] or None]:
            choices, answer = list(rows[i]["choices"]), rows[i]["answer"]
            right = LETTERS.find(answer) if isinstance(answer, str) else int(answer)
            if not 0 <= right < len(choices) <= len(LETTERS):
                raise UsageError(f"item {i + 1} of {chosen['file']} has {len(choices)} choices and the answer {answer}")
            lines = [rows[i]["question"], *(f"{a}. {c}" for a, c in zip(LETTERS, choices, strict=False)), "Answer:"]
            endings = [subject.encode(f" {LETTERS[k]}") for k in range(len(choices))]
            room = subject.context - max(len(e) for e in endings)
            self._items.append((fitted(subject.encode("\n".join(lines)), room), endings, right))

    def __len__(self) -> int:
        return len(self._items)

    def run(self, session: LanguageSession, index: int) -> tuple[float, float]:
        prompt, endings, right = self._items[index]
        session.reset()
        first = session.prefill(prompt)
        likelihoods = []
        for ending in endings:
            session.truncate(len(prompt))
            total = float(log_probabilities(first, ending[:1])[0])
            if len(ending) > 1:
                total += float(log_probabilities(session.score(ending[:-1])[0], ending[1:]).sum())
            likelihoods.append(total)
        return float(likelihoods.index(max(likelihoods)) == right), 1.0
