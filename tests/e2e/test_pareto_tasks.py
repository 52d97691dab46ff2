"""Tasks on text, asked of a small model of bytes, against logits that are read off directly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import byoc
from byoc.llm.model import language_model
from byoc.llm.session import LanguageSession
from byoc.llm.settings import Settings
from byoc.llm.tokenizer import Tokenizer
from byoc.pareto.tasks import make_task
from byoc.pareto.tasks.task import Subject, log_probabilities
from tests.language_models import byte_tokenizer, make_folder


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> LanguageSession:
    folder = tmp_path_factory.mktemp("bytes") / "tiny"
    make_folder(folder, vocab_size=256)
    model = language_model(folder, Settings(context=64, chunk=16))
    return LanguageSession(byoc.compile(model, ["csource"], use_cache=False).session())


@pytest.fixture(scope="module")
def subject() -> Subject:
    return Subject(Tokenizer(byte_tokenizer()), 64)


def logits_of(session: LanguageSession, tokens: list[int]) -> Any:
    session.reset()
    return session.score(tokens)[0]


def written(path: Path, **row: Any) -> str:
    path.write_text(json.dumps(row) + "\n")
    return str(path)


def test_perplexity_counts_the_last_tokens_of_each_window(session, subject, tmp_path) -> None:
    text = "the quick brown fox jumps over the lazy dog"
    (tmp_path / "t.txt").write_text(text)
    task = make_task("perplexity", {"text": str(tmp_path / "t.txt"), "window": 32, "stride": 8, "items": 1}, subject)
    total, weight = task.run(session, 0)
    ids = list(text.encode())
    starts = [s for s in (0, 8) if s + 32 <= len(ids)]
    wanted = [
        -log_probabilities(logits_of(session, ids[s : s + 32])[23:31], ids[s + 24 : s + 32]).sum() for s in starts
    ]
    assert weight == 8 and min(abs(total - w) for w in wanted) < 1e-3
    assert task.score(np.log(7.0)) == pytest.approx(7.0) and not task.higher


def test_the_likeliest_letter_is_what_the_model_chooses(session, subject, tmp_path) -> None:
    prompt = "1+1?\nA. 2\nB. 3\nAnswer:"
    sums = []
    for letter in "AB":
        ids = list(f"{prompt} {letter}".encode())
        sums.append(log_probabilities(logits_of(session, ids)[-3:-1], ids[-2:]).sum())
    best = int(np.argmax(sums))
    for right in (0, 1):
        file = written(tmp_path / "q.jsonl", question="1+1?", choices=["2", "3"], answer="AB"[right])
        assert make_task("choice", {"file": file}, subject).run(session, 0) == (float(right == best), 1.0)


def test_exact_match_and_long_qa_generate(session, subject, tmp_path) -> None:
    session.reset()
    prompt = list(b"Question: x\nAnswer:")
    said = bytes(int(t[0]) for t in session.generate(prompt, max_tokens=4)).decode("utf-8", "replace")
    line = (said.strip().splitlines() or [""])[0].strip()
    for answer, got in ((line, bool(line)), ("other", False)):
        file = written(tmp_path / "e.jsonl", question="x", answer=f"because #### {answer}")
        assert make_task("exact-match", {"file": file, "tokens": 4}, subject).run(session, 0) == (float(got), 1.0)
    file = written(tmp_path / "l.jsonl", context="long " * 40, input="x", answers=["zebra"])
    assert make_task("long-qa", {"file": file, "tokens": 4}, subject).run(session, 0) == (0.0, 1.0)


def test_a_needle_in_text_is_scored_token_by_token(session, subject, tmp_path) -> None:
    (tmp_path / "hay.txt").write_text("grass and more grass " * 10)
    options = {"text": str(tmp_path / "hay.txt"), "needle": "k is 7.", "question": "k is", "answer": " 7",
               "lengths": [48], "depths": [50], "repeats": 1}  # fmt: skip
    task = make_task("needle", options, subject)
    tokens, answer = task._items[0]
    assert len(tokens) == 48 and bytes(tokens).endswith(b"k is 7") and bytes(tokens[17:24]) == b"k is 7."
    right = (logits_of(session, tokens)[-3:-1].argmax(-1) == answer).sum()
    assert task.run(session, 0) == (float(right), 2.0)
