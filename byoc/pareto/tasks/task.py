"""What a task is: items that a session is asked, and how the answers become one score."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from byoc.errors import UsageError

if TYPE_CHECKING:
    from byoc.llm.session import LanguageSession
    from byoc.llm.tokenizer import Tokenizer


@dataclass(frozen=True)
class Subject:
    """The model that tasks are made for: all that items may depend on, so that every configuration is asked the same.

    Attributes
    ----------
    context: tokens that the cache holds.  begin: the token that begins a text; -1 for none.
    """

    tokenizer: Tokenizer | None
    context: int
    begin: int = -1
    seed: int = 0

    def encode(self, text: str) -> list[int]:
        """Raises :class:`UsageError` where the model has no tokenizer."""
        if self.tokenizer is None:
            raise UsageError(
                "the task reads text, the model has no tokenizer.json",
                "text is turned into tokens with it",
                "give the text as token ids in an .npy file, or use a task on ids, such as recall or needle",
            )
        return self.tokenizer.encode(text)


class Task(Protocol):
    """Items in an order in which the first ones are a fair sample: searches look at those first.

    Attributes
    ----------
    higher: whether a higher score is better.
    cells: for every item the cell of a heat map that it belongs to, (row, column); empty without one.
    """

    higher: bool
    cells: Sequence[tuple[str, str]]

    def __len__(self) -> int: ...

    def run(self, session: LanguageSession, index: int) -> tuple[float, float]:
        """(total, weight) of one item; the score is :meth:`score` of all totals over all weights."""

    def score(self, ratio: float) -> float: ...


class Accuracy:
    """Base of tasks whose score is the mean of what items got."""

    higher = True
    cells: Sequence[tuple[str, str]] = ()

    def score(self, ratio: float) -> float:
        return ratio


def known_options(name: str, options: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Options with defaults; a default of ... must be given.  Raises :class:`UsageError`."""
    unknown = set(options) - set(defaults)
    if unknown:
        raise UsageError(f'the task "{name}" has no option "{min(unknown)}"', "", f"it has {', '.join(defaults)}")
    merged = {**defaults, **options}
    for option, value in merged.items():
        if value is ...:
            raise UsageError(f'the task "{name}" needs the option "{option}"', "", f"--task {name}:{option}=...")
        kind = type(defaults[option])
        if option in options and kind in (int, float) and not isinstance(value, kind):
            try:
                merged[option] = kind(value)
            except (TypeError, ValueError):
                raise UsageError(f'"{value}" is no number for {option} of the task "{name}"') from None
    return merged


def read_lines(path: str | Path, *fields: str) -> list[dict[str, Any]]:
    """Objects of a JSONL file, each with these fields.  Raises :class:`UsageError`."""
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            missing = [f for f in fields if f not in row]
        except (ValueError, TypeError) as error:
            raise UsageError(f"line {number} of {path} is no JSON object", str(error)) from None
        if missing:
            raise UsageError(f'line {number} of {path} has no "{missing[0]}"', f"items have {', '.join(fields)}")
        rows.append(row)
    if not rows:
        raise UsageError(f"{path} has no items", "it is empty")
    return rows


def read_text(path: str | Path) -> str:
    """Raises :class:`UsageError`."""
    try:
        return Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read", str(error), "check the path") from None


def read_tokens(path: str | Path, subject: Subject) -> list[int]:
    """Of a text by the model's tokenizer, or those in an ``.npy`` file.  Raises :class:`UsageError`."""
    if Path(path).suffix != ".npy":
        return subject.encode(read_text(path))
    try:
        ids = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"{path} cannot be read", str(error), "give token ids as numpy.save writes them") from None
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise UsageError(f"{path} holds {ids.dtype}{list(ids.shape)}", "token ids are a list of integers")
    return [int(i) for i in ids]


def shuffled(count: int, seed: int) -> list[int]:
    """0 to count - 1 in a random order that depends on the seed only."""
    return [int(i) for i in np.random.default_rng(seed).permutation(count)]


def log_probabilities(logits: Any, targets: Sequence[int]) -> Any:
    """float64[n] of targets under float32[n, vocabulary]."""
    rows = np.asarray(logits, np.float64)
    rows = rows - rows.max(-1, keepdims=True)
    return rows[np.arange(len(targets)), list(targets)] - np.log(np.exp(rows).sum(-1))


def complete(session: LanguageSession, tokens: Sequence[int], count: int) -> list[int]:
    """Up to `count` tokens that the model continues with, greedily, its end tokens left out."""
    session.reset()
    ends = set(session.facts["end"])
    made = [int(row[0]) for row in session.generate(tokens, max_tokens=count)]
    return [token for token in made if token not in ends and token >= 0]


def fitted(tokens: Sequence[int], room: int) -> list[int]:
    """Tokens without some of their middle where there is no room for all, as LongBench does it."""
    if len(tokens) <= room:
        return list(tokens)
    half = room // 2
    return [*tokens[:half], *tokens[len(tokens) - (room - half) :]]
