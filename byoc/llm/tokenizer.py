"""Text to tokens and back, by a model's ``tokenizer.json``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from byoc.errors import ArtifactError, ToolchainError

_UNFINISHED = "\ufffd"  # what an incomplete UTF-8 sequence decodes to


class Tokenizer:
    """Reads with the package ``tokenizers``.

    Raises :class:`ToolchainError` where that is not installed, :class:`ArtifactError` where the content is none.
    """

    def __init__(self, content: bytes) -> None:
        try:
            import tokenizers
        except ImportError:
            raise ToolchainError(
                "text is turned into tokens with the package tokenizers",
                "it is not installed",
                'pip install "byoc[llm]", or give token ids with --ids',
            ) from None
        try:
            self._tokenizer: Any = tokenizers.Tokenizer.from_str(content.decode("utf-8"))
        except Exception as error:  # the package raises plain Exception
            raise ArtifactError(
                f"tokenizer.json cannot be used: {error}",
                "it is damaged, or made by a newer version of tokenizers",
                "pip install --upgrade tokenizers, or compile the model again",
            ) from None

    def encode(self, text: str, special: bool = True) -> list[int]:
        """Token ids, with the special ones that the tokenizer itself puts before or after a text, or without."""
        return list(self._tokenizer.encode(text, add_special_tokens=special).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens left out."""
        return str(self._tokenizer.decode([int(i) for i in ids], skip_special_tokens=True))


class TextStream:
    """The text of tokens that come one by one, up to the first of some stop strings.

    Text is held back while a character is incomplete, or while it may become a stop string.

    Attributes
    ----------
    text: all that was given out.
    stopped: whether a stop string came; it is not given out.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._stop = tuple(s for s in stop if s)
        self._ids: list[int] = []
        self._first = 0  # of the tokens that are decoded again with every new one
        self._told = 0  # characters of those tokens' text that are in _pending or in text
        self._pending = ""
        self.text = ""
        self.stopped = False

    def feed(self, token: int) -> str:
        """Take a token; the text that is certain now."""
        self._ids.append(int(token))
        decoded = self._tokenizer.decode(self._ids[self._first :])
        if decoded.endswith(_UNFINISHED):
            return ""
        self._pending += decoded[self._told :]
        self._told = len(decoded)
        if len(self._ids) - self._first > 32:  # decoding all again would cost more with every token
            self._first = len(self._ids) - 8
            self._told = len(self._tokenizer.decode(self._ids[self._first :]))
        return self._release(self._held())

    def finish(self) -> str:
        """The rest, when no token follows."""
        if self.stopped:
            return ""
        self._pending += self._tokenizer.decode(self._ids[self._first :])[self._told :]
        return self._release(0)

    def _held(self) -> int:
        """How many of the last characters may begin a stop string."""
        longest = max((len(s) for s in self._stop), default=1) - 1
        lengths = range(min(longest, len(self._pending)), 0, -1)
        return next((n for n in lengths if any(s.startswith(self._pending[-n:]) for s in self._stop)), 0)

    def _release(self, held: int) -> str:
        found = [at for at in (self._pending.find(s) for s in self._stop) if at >= 0]
        if found:
            self.stopped = True
            end = min(found)
        else:
            end = len(self._pending) - held
        given, self._pending = self._pending[:end], self._pending[end:]
        self.text += given
        return given
