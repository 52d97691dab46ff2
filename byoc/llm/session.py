"""A language model at work: sequences of tokens, their caches, and the logits of what comes next."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from byoc.errors import InputError, UsageError
from byoc.llm.cache_state import CacheState
from byoc.llm.sampling import Sampler, Sampling
from byoc.llm.tokenizer import Tokenizer
from byoc.runtime.session import Session
from byoc.runtime.session import load as load_session

Array = np.ndarray[Any, Any]
Tokens = Sequence[int] | Sequence[Sequence[int]] | Array
GREEDY = Sampling()
ENDED = -1


def load(
    path: str | os.PathLike[str], *, threads: int | None = None, verify_key: str | os.PathLike[str] | None = None
) -> LanguageSession:
    """A session on the language model in an artifact's file; see :func:`byoc.load`.

    Raises :class:`ArtifactError` as that does, :class:`UsageError` where the artifact holds no language model.
    """
    return LanguageSession(load_session(path, threads=threads, verify_key=verify_key))


class LanguageSession:
    """One batch of sequences over a session of a compiled language model.

    Sequences may differ in length.  An :class:`InputError` leaves them as they were; a call that is interrupted leaves
    the chunks that it read.

    Attributes
    ----------
    session: the session that runs the functions; several language sessions may share one.
    context, chunk, batch, vocabulary: as the model was compiled.
    """

    def __init__(self, session: Session, cache: CacheState | None = None) -> None:
        facts = session.manifest.language_model
        if facts is None:
            raise UsageError(
                "the artifact holds no language model", "", "compile a model's folder, with config.json and safetensors"
            )
        self.session = session
        self.facts = facts
        self.context, self.chunk, self.batch = (int(facts[k]) for k in ("context", "chunk", "batch"))
        self.vocabulary = int(facts["vocabulary"])
        self.cache = cache or CacheState(session.new_state(), facts)

    @property
    def lengths(self) -> Array:
        """Tokens that each sequence's caches hold, int64[batch]."""
        return self.cache.lengths.copy()

    @cached_property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer in the artifact, or None.  Raises as :class:`Tokenizer` does."""
        return Tokenizer(self.session.tokenizer) if self.session.tokenizer else None

    def generate(
        self, tokens: Tokens, *, max_tokens: int = 128, sampling: Sampling = GREEDY, end: Sequence[int] | None = None
    ) -> Iterator[Array]:
        """Read tokens, then yield what the model continues them with, int64[batch] at a time.

        A sequence that came to one of the tokens `end` (by default those of the model) yields that token and then
        -1.  It ends when all sequences have ended, after `max_tokens`, or when the context is full.  The caches hold
        all that was yielded, but for the last.  Raises :class:`InputError` as :meth:`prefill` does.
        """
        sampler = Sampler(sampling)
        ends = list(self.facts["end"] if end is None else end)
        logits = self.prefill(tokens)
        active = np.ones(self.batch, bool)
        for count in range(max_tokens):
            chosen = np.where(active, sampler.choose(logits), ENDED)
            yield chosen
            active &= ~np.isin(chosen, ends)
            full = (self.cache.lengths >= self.context) & active
            if not active.any() or full.any() or count + 1 == max_tokens:
                return
            logits = self.decode(np.maximum(chosen, 0), active)

    def prefill(self, tokens: Tokens) -> Array:
        """Read tokens, one row per sequence, rows perhaps of different lengths; the logits after the last of each.

        Returns float32[batch, vocabulary].  Raises :class:`InputError` for ids outside the vocabulary, an empty row, or
        more tokens than the context holds.
        """
        rows = self._rows(tokens)
        counts = np.array([len(row) for row in rows])
        result = np.empty((self.batch, self.vocabulary), np.float32)
        for begin in range(0, int(counts.max()), self.chunk):
            block, took = self._block(rows, begin)
            lasts = np.arange(self.batch) * block.shape[1] + np.maximum(took - 1, 0)
            inputs = {"tokens": block, "lengths": self.cache.lengths, "counts": took, "rows": lasts}
            logits = self._run("prefill", inputs)
            self.cache.lengths = self.cache.lengths + took
            ends = (took > 0) & (counts <= begin + block.shape[1])
            result[ends] = logits[ends]
        return result

    def decode(self, tokens: Sequence[int] | Array, active: Sequence[bool] | Array | None = None) -> Array:
        """Read one token per sequence; the logits after it, float32[batch, vocabulary].

        Sequences that are not `active` (bool[batch]) stay as they are; their tokens and logits mean nothing.
        Raises :class:`InputError` as :meth:`prefill` does.
        """
        ids = _whole(tokens).reshape(-1)
        running = self._active(active)
        self._check([ids[i : i + 1] for i in range(len(ids))], running)
        counts = running.astype(np.int64)
        logits = self._run("decode", {"tokens": ids.reshape(-1, 1), "lengths": self.cache.lengths, "counts": counts})
        self.cache.lengths = self.cache.lengths + counts
        return logits

    def score(self, tokens: Tokens) -> Array:
        """Read tokens; the logits after each of them, float32[batch, tokens, vocabulary].  Rows are of one length."""
        rows = self._rows(tokens)
        if len({len(row) for row in rows}) > 1:
            raise InputError("the rows to score differ in length", "", "score them one by one, or pad them")
        parts = []
        for begin in range(0, len(rows[0]), self.chunk):
            block, took = self._block(rows, begin)
            parts.append(self._run("score", {"tokens": block, "lengths": self.cache.lengths, "counts": took}))
            self.cache.lengths = self.cache.lengths + took
        return np.concatenate(parts, axis=1)

    def reset(self) -> None:
        """Forget all tokens."""
        self.cache.lengths = np.zeros(self.batch, np.int64)

    def fork(self) -> LanguageSession:
        """A second batch of sequences that begins where this one stands; its caches are a copy."""
        return LanguageSession(self.session, self.cache.copy())

    def truncate(self, length: int) -> None:
        """Keep the first `length` tokens of every sequence.

        Raises :class:`InputError` where a sequence is shorter, or where a ring no longer holds what a window needs.
        """
        self.cache.truncate(length)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write caches and lengths to a file, whole or not at all."""
        self.cache.save(path)

    def restore(self, path: str | os.PathLike[str]) -> None:
        """Take caches and lengths from a file.  Raises :class:`ArtifactError` if it is another model's or damaged."""
        self.cache.restore(path)

    def _run(self, entry: str, inputs: dict[str, Array]) -> Array:
        inputs = {name: np.ascontiguousarray(array, np.int64) for name, array in inputs.items()}
        return self.session.run(inputs, entry=entry, state=self.cache.state)["output"]

    def _rows(self, tokens: Tokens) -> list[Array]:
        nested = isinstance(tokens, (Sequence, np.ndarray)) and len(tokens) > 0 and not np.isscalar(tokens[0])
        rows = [_whole(row) for row in (tokens if nested else [tokens])]
        for i, row in enumerate(rows):
            if row.ndim != 1:
                raise InputError(f"sequence {i} has {row.ndim} dimensions", "it is a list of token ids")
        self._check(rows)
        return [row.astype(np.int64) for row in rows]

    def _active(self, active: Sequence[bool] | Array | None) -> Array:
        """Which sequences run, bool[batch]."""
        found = np.ones(self.batch, bool) if active is None else np.asarray(active)
        if found.shape != (self.batch,) or found.dtype.kind not in "biu":
            raise InputError(
                f"active is {found.dtype}{list(found.shape)}", f"it is bool[{self.batch}], one for each sequence"
            )
        return found.astype(bool)

    def _check(self, rows: Sequence[Array], active: Array | None = None) -> None:
        """Whether the session can read these; `active` is bool[batch]."""
        if len(rows) != self.batch:
            raise InputError(
                f"{len(rows)} sequences are given, the model was compiled for {self.batch}",
                "",
                "give as many rows as its batch, or compile with another --batch",
            )
        for i, (row, held) in enumerate(zip(rows, self.cache.lengths, strict=True)):
            if not len(row):
                raise InputError(
                    f"sequence {i} has no tokens", "a model continues at least one token", "begin with BOS"
                )
            if row.min() < 0 or row.max() >= self.vocabulary:
                bad = int(row.min() if row.min() < 0 else row.max())
                raise InputError(
                    f"token {bad} of sequence {i} is not in the vocabulary",
                    f"ids are 0 to {self.vocabulary - 1}",
                    "use the model's own tokenizer",
                )
            if held + len(row) > self.context and (active is None or active[i]):
                raise InputError(
                    f"sequence {i} would have {held + len(row)} tokens, its caches hold {self.context}",
                    f"{held} are there, {len(row)} are given",
                    "truncate or reset the session, or compile with a larger --context",
                )

    def _block(self, rows: Sequence[Array], begin: int) -> tuple[Array, Array]:
        """Tokens [begin, begin + chunk) of every row, short rows padded with token 0, and how many are real."""
        width = min(self.chunk, max(len(row) for row in rows) - begin)
        block = np.zeros((self.batch, width), np.int64)
        took = np.zeros(self.batch, np.int64)
        for i, row in enumerate(rows):
            part = row[begin : begin + width]
            block[i, : len(part)] = part
            took[i] = len(part)
        return block, took


def _whole(ids: Any) -> Array:
    """Token ids as an array of integers, as wide as they came."""
    try:
        found = np.asarray(ids)
    except ValueError:  # lists of lists of several lengths
        found = np.asarray(None)
    if found.size and found.dtype.kind not in "iu":
        kind = "a text" if found.dtype.kind == "U" else "something else" if found.dtype.kind == "O" else found.dtype
        raise InputError(
            f"token ids are integers, {kind} is given", "", "turn a text into ids with the session's tokenizer"
        )
    return found
