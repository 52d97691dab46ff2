"""``byoc generate m.byoc -p "Once upon a time"``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from byoc.cli.flags import answer_flags, verify_key_flag
from byoc.cli.output import print_json
from byoc.cli.planning import read_text
from byoc.errors import InputError, UsageError

if TYPE_CHECKING:
    from byoc.llm import LanguageSession, Sampling, TextStream


@click.command("generate")
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("-p", "--prompt", "prompts", multiple=True, metavar="TEXT", help="What to continue (once a sequence).")
@click.option("--file", "files", multiple=True, type=click.Path(path_type=Path), help="A prompt in a text file.")
@click.option("--ids", "id_lists", multiple=True, metavar="1,2,3", help="A prompt as token ids.")
@click.option("--max-tokens", type=click.IntRange(min=1), default=128, show_default=True, metavar="N", help="At most.")
@click.option("--temperature", type=float, default=0.0, show_default=True, metavar="T", help="0 is greedy.")
@click.option("--top-k", type=int, default=0, metavar="K", help="Draw from the K most likely tokens.  [default: all]")
@click.option("--top-p", type=float, default=1.0, metavar="P", help="Draw from those that make up P.  [default: 1]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="For drawing tokens.")
@click.option("--stop", "stops", multiple=True, metavar="TEXT", help="Stop before this text (repeatable).")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Threads for the host and the partitions.")
@verify_key_flag
@answer_flags
def command(
    artifact: Path,
    prompts: tuple[str, ...],
    files: tuple[Path, ...],
    id_lists: tuple[str, ...],
    max_tokens: int,
    temperature: float,
    top_k: int,
    top_p: float,
    seed: int,
    stops: tuple[str, ...],
    threads: int | None,
    verify_key: Path | None,
    as_json: bool,
) -> None:
    """Continue a prompt with the language model in an ARTIFACT.

    The text appears as it is made; with --ids, or where the artifact has no tokenizer, token ids do.  An artifact
    for several sequences takes as many prompts, and prints each continuation when all have ended.
    """
    from byoc.llm import Sampling, load

    sampling = Sampling(temperature, top_k, top_p, seed)
    session = load(artifact, threads=threads, verify_key=verify_key)
    texts = [*prompts, *(read_text(file, "prompt") for file in files)]
    rows = [*(encode(session, text) for text in texts), *(parse_ids(ids) for ids in id_lists)]
    if not rows:
        raise UsageError("no prompt is given", "", 'give one with -p "TEXT", --file FILE or --ids 1,2,3')
    as_text = not id_lists and session.tokenizer is not None
    if stops and not as_text:
        raise UsageError("--stop needs text", "the answer is token ids", "give the prompt with -p, or drop --stop")
    streaming = not as_json and len(rows) == 1
    answers = generate(session, rows, max_tokens, sampling, stops if as_text else None, streaming)
    if as_json:
        print_json({"sequences": [answer.to_json() for answer in answers]})
        return
    if not streaming:
        for i, answer in enumerate(answers):
            click.echo(f"[{i}] {answer.shown()}")
    told = answers[0]
    click.echo(f"{told.read} tokens read in {told.read_seconds:.3g} s, {told.speed_text()}; {told.why}", err=True)


@dataclass
class Answer:
    """The continuation of one sequence; `stream` is None where it is token ids."""

    read: int
    stream: TextStream | None
    ids: list[int] = field(default_factory=list)
    why: str = "--max-tokens reached"
    read_seconds: float = 0.0
    seconds: float = 0.0

    @property
    def done(self) -> bool:
        return self.why != "--max-tokens reached"

    def take(self, token: int, ends: Sequence[int]) -> str:
        """Take a token; what to show of it."""
        self.ids.append(token)
        if token in ends:
            self.why = "the model ended"
        if self.stream is None:
            return f"{token} "
        shown = self.stream.feed(token) if token not in ends else ""
        if self.stream.stopped:
            self.why = "a stop text came"
        return shown

    def shown(self) -> str:
        return self.stream.text if self.stream is not None else " ".join(map(str, self.ids))

    def speed_text(self) -> str:
        later = len(self.ids) - 1
        if later < 1 or self.seconds <= 0:
            return f"{len(self.ids)} generated"
        return f"{len(self.ids)} generated at {later / self.seconds:.4g} tokens/s"

    def to_json(self) -> dict[str, Any]:
        return {
            "text": None if self.stream is None else self.stream.text,
            "ids": self.ids,
            "stopped": self.why,
            "prompt_tokens": self.read,
            "prompt_seconds": self.read_seconds,
            "seconds": self.seconds,
        }


def generate(
    session: LanguageSession,
    rows: Sequence[Sequence[int]],
    max_tokens: int,
    sampling: Sampling,
    stops: Sequence[str] | None,
    streaming: bool,
) -> list[Answer]:
    """Continue all rows; `stops` is None where ids are shown."""
    from byoc.llm import TextStream

    def stream() -> TextStream | None:
        return None if stops is None or session.tokenizer is None else TextStream(session.tokenizer, stops)

    answers = [Answer(len(row), stream()) for row in rows]
    ends = [int(i) for i in session.facts["end"]]
    began = time.perf_counter()
    first = began
    for step, tokens in enumerate(session.generate(list(rows), max_tokens=max_tokens, sampling=sampling)):
        if step == 0:
            first = time.perf_counter()
        for answer, token in zip(answers, tokens, strict=True):
            shown = answer.take(int(token), ends) if not answer.done else ""
            if streaming and shown:
                click.echo(shown, nl=False)
        if all(answer.done for answer in answers):
            break
    for answer, length in zip(answers, session.lengths, strict=True):
        rest = answer.stream.finish() if answer.stream is not None else ""
        if streaming:
            click.echo(rest)
        answer.read_seconds, answer.seconds = first - began, time.perf_counter() - first
        if not answer.done and length >= session.context:
            answer.why = "the context is full"
    return answers


def encode(session: LanguageSession, text: str) -> list[int]:
    """Token ids of a text.  Raises :class:`InputError` where the artifact has no tokenizer."""
    if session.tokenizer is None:
        raise InputError(
            "the artifact has no tokenizer", "the model's folder had no tokenizer.json", "give token ids: --ids 1,2,3"
        )
    return session.tokenizer.encode(text)


def parse_ids(text: str) -> list[int]:
    """``"1,2,3"``.  Raises :class:`UsageError`."""
    try:
        return [int(part) for part in text.replace(",", " ").split()]
    except ValueError:
        raise UsageError(f'--ids "{text}" is no list of token ids', "", "write it as --ids 1,2,3") from None
