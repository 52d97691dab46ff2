"""An artifact as a model of ``lm-eval``, so that its tasks run on it.

    import lm_eval
    from byoc.llm.lm_eval import ArtifactLM

    lm_eval.simple_evaluate(model=ArtifactLM("model.byoc"), tasks=["hellaswag"])

Importing this module also registers the model as ``byoc``: ``model="byoc", model_args="artifact=model.byoc"``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from byoc.errors import InputError, ToolchainError, UsageError
from byoc.llm.sampling import Sampling
from byoc.llm.session import LanguageSession, load
from byoc.llm.tokenizer import TextStream, Tokenizer

try:
    from lm_eval.api.model import TemplateLM
    from lm_eval.api.registry import register_model
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
except ImportError:
    raise ToolchainError(
        "tasks of lm-eval run with the package lm-eval", "it is not installed", 'pip install "byoc[eval]"'
    ) from None

_GENERATED = 256  # tokens, where a task does not say


@register_model("byoc")
class ArtifactLM(TemplateLM):
    """The language model in an artifact's file, or a session of it, compiled for one sequence.

    Texts that do not fit the context lose their beginning, as lm-eval's own models do it.  Raises
    :class:`ArtifactError` as :func:`byoc.llm.load` does, :class:`UsageError` for a batch, :class:`InputError` without a
    tokenizer.
    """

    def __init__(
        self, artifact: str | os.PathLike[str] | LanguageSession, threads: int | None = None, **_: Any
    ) -> None:
        super().__init__()
        if not isinstance(artifact, LanguageSession):
            artifact = load(artifact, threads=None if threads is None else int(threads))
        self.session = artifact
        if self.session.batch != 1:
            raise UsageError(
                f"the artifact was compiled for {self.session.batch} sequences",
                "tasks are run one text at a time",
                "compile it with --batch 1",
            )
        if self.session.tokenizer is None:
            raise InputError("the artifact has no tokenizer", "the model's folder had no tokenizer.json")
        self.tokenizer: Tokenizer = self.session.tokenizer

    @property
    def eot_token_id(self) -> int:
        ends = [int(i) for i in self.session.facts["end"]]
        return ends[0] if ends else max(int(self.session.facts["begin"]), 0)

    @property
    def prefix_token_id(self) -> int:
        """What a text without a beginning is taken to continue."""
        begin = int(self.session.facts["begin"])
        return begin if begin >= 0 else self.eot_token_id

    @property
    def max_length(self) -> int:
        return self.session.context

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        return self.tokenizer.encode(string, special=add_special_tokens is not False)

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], disable_tqdm: bool = False, **_: Any
    ) -> list[tuple[float, bool]]:
        return [self._continued(context, continuation) for _, context, continuation in requests]

    def _continued(self, context: Sequence[int], continuation: Sequence[int]) -> tuple[float, bool]:
        """The log probability of `continuation` behind `context`, and whether every token of it is the likeliest."""
        count = min(len(continuation), self.max_length)
        ids = [*context, *continuation][-self.max_length - 1 :]
        self.session.reset()
        logits = self.session.score(ids[:-1])[0][-count:].astype(np.float64)
        logits -= logits.max(-1, keepdims=True)
        chosen = np.asarray(ids[-count:])
        found = logits[np.arange(count), chosen] - np.log(np.exp(logits).sum(-1))
        return float(found.sum()), bool((logits.argmax(-1) == chosen).all())

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        return [self._rolling(request.args[0]) for request in requests]

    def _rolling(self, text: str) -> float:
        ids = self.tok_encode(text, add_special_tokens=False)
        windows = get_rolling_token_windows(ids, self.prefix_token_id, self.max_length, 1)
        return sum(self._continued(*make_disjoint_window(window))[0] for window in windows)

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        return [self._generated(*request.args) for request in requests]

    def _generated(self, text: str, settings: dict[str, Any]) -> str:
        until = settings.get("until") or []
        most = min(int(settings.get("max_gen_toks", _GENERATED)), self.max_length - 1)
        drawn = settings.get("do_sample", False)
        sampling = Sampling(float(settings.get("temperature", 1.0)) if drawn else 0.0)
        prompt = self.tok_encode(text)[-(self.max_length - most) :] or [self.prefix_token_id]
        stream = TextStream(self.tokenizer, [until] if isinstance(until, str) else until)
        ends = [int(i) for i in self.session.facts["end"]]
        self.session.reset()
        for tokens in self.session.generate(prompt, max_tokens=most, sampling=sampling):
            if int(tokens[0]) not in ends:
                stream.feed(int(tokens[0]))
            if stream.stopped:
                break
        stream.finish()
        return stream.text
