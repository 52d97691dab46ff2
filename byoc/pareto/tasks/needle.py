"""Needle in a haystack: a fact at some depth of a long text, and a question for it at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from byoc.errors import UsageError
from byoc.pareto.tasks.task import Accuracy, Subject, known_options, read_text, shuffled

if TYPE_CHECKING:
    from byoc.llm.session import LanguageSession

_DEFAULTS = {
    "text": "",
    "filler": (),
    "draw": {},
    "needle": "\nThe secret number is 7481.\n",
    "question": "\nThe secret number is",
    "answer": " 7481",
    "lengths": (),
    "depths": (0, 25, 50, 75, 100),
    "repeats": 4,
}


class Needle(Accuracy):
    """The score is the fraction of the answer's tokens that the model ranks first, the ones before given to it.

    Options: `text`, a file that makes the haystack, or `filler`, [first, last] token ids to draw it from.  `needle`,
    `question`, `answer`: texts, or lists of token ids and of names; `draw` gives for each name the ids [first, last]
    that it stands for, drawn anew for every item.  `lengths` in tokens, `depths` in percent, `repeats` items for each.
    """

    def __init__(self, options: Mapping[str, Any], subject: Subject) -> None:
        chosen = known_options("needle", options, _DEFAULTS)
        self._chosen, self._subject = chosen, subject
        if not chosen["text"] and not chosen["filler"]:
            raise UsageError('the task "needle" has no haystack', "", "give text, a file, or filler, [first, last] ids")
        self._text = subject.encode(read_text(chosen["text"])) if chosen["text"] else []
        lengths = [int(n) for n in chosen["lengths"]] or [subject.context // 4, subject.context // 2, subject.context]
        if max(lengths) > subject.context:
            raise UsageError(f"a haystack of {max(lengths)} tokens does not fit a context of {subject.context}")
        grid = [(n, int(d)) for _ in range(chosen["repeats"]) for n in lengths for d in chosen["depths"]]
        # Whole grids one after the other, so that the first items see every cell.
        size = len(lengths) * len(chosen["depths"])
        order = [r * size + i for r in range(chosen["repeats"]) for i in shuffled(size, subject.seed + r)]
        self._items = [self._item(*grid[i], seed=i) for i in order]
        self.cells = [(f"{grid[i][0]} tokens", f"{grid[i][1]}% deep") for i in order]

    def __len__(self) -> int:
        return len(self._items)

    def run(self, session: LanguageSession, index: int) -> tuple[float, float]:
        tokens, answer = self._items[index]
        session.reset()
        logits = session.score(tokens[:-1])[0][-len(answer) :]
        return float((logits.argmax(-1) == np.asarray(answer)).sum()), float(len(answer))

    def _item(self, length: int, depth: int, seed: int) -> tuple[list[int], list[int]]:
        random = np.random.default_rng([self._subject.seed, seed])
        drawn = {name: int(random.integers(low, high + 1)) for name, (low, high) in self._chosen["draw"].items()}
        needle, question, answer = (self._tokens(self._chosen[n], drawn) for n in ("needle", "question", "answer"))
        begin = [self._subject.begin] if self._subject.begin >= 0 else []
        room = length - len(begin) - len(needle) - len(question) - len(answer)
        if room < 1 or not answer:
            raise UsageError(f"a haystack of {length} tokens has no room for needle and question", "", "make it longer")
        hay = self._hay(room, random)
        place = room * depth // 100
        return [*begin, *hay[:place], *needle, *hay[place:], *question, *answer], answer

    def _hay(self, room: int, random: np.random.Generator) -> list[int]:
        if self._chosen["filler"]:
            low, high = self._chosen["filler"]
            return [int(t) for t in random.integers(int(low), int(high) + 1, room)]
        if len(self._text) < room:
            raise UsageError(f"{self._chosen['text']} has {len(self._text)} tokens, a haystack takes {room}")
        first = int(random.integers(0, len(self._text) - room + 1))
        return list(self._text[first : first + room])

    def _tokens(self, what: str | Sequence[Any], drawn: Mapping[str, int]) -> list[int]:
        if isinstance(what, str):
            return self._subject.encode(what)
        try:
            return [drawn[t] if isinstance(t, str) else int(t) for t in what]
        except KeyError as error:
            raise UsageError(f"the needle names {error}, which draw does not give") from None
