"""What formats of the KV cache cost, from the log-probabilities that were measured: changes, intervals, tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from byoc.pareto.bootstrap import Bootstrap, Interval
from byoc.pareto.tasks.task import Task

# Most that perplexity may rise, in percent; of several formats the best one counts.
GOALS = (
    ("8 bits", 0.1, ("k8v8",)),
    ("4 bits, g32, best key transform", 2.0, ("k4v4", "k4v4:mean", "k4v4:hadamard")),
)


@dataclass(frozen=True)
class Measured:
    """One format on one model.

    Attributes
    ----------
    kv: the format in groups that fit the model's heads.
    cache_bytes: of all layers' caches, for the longest text.
    counts, hits: for each text, how many tokens were scored, and how many of them the model ranked first.
    nats: for each text, minus the log-probability of its scored tokens.
    in_chunks: the same as `nats`, read by chunks, where the others are of tokens read one by one; else empty.
    """

    model: str
    kv: str
    cache_bytes: int
    counts: Sequence[int]
    hits: Sequence[int]
    nats: Sequence[float]
    in_chunks: Sequence[float] = ()

    @property
    def perplexity(self) -> float:
        """Over all scored tokens."""
        return float(np.exp(sum(self.nats) / sum(self.counts)))

    @property
    def recall(self) -> float:
        """The share of scored tokens that the model ranks first."""
        return sum(self.hits) / sum(self.counts)

    @property
    def read_in_chunks(self) -> Measured:
        return replace(self, nats=self.in_chunks, in_chunks=())


Pair = tuple[Measured, Measured]  # a format, and the float caches of the same model


@dataclass(frozen=True)
class MeanOfTokens:
    """How :class:`Bootstrap` scores: by the mean over tokens, or by its exponential where it is a perplexity."""

    perplexity: bool

    @property
    def higher(self) -> bool:
        return not self.perplexity

    def score(self, ratio: float) -> float:
        return float(np.exp(ratio)) if self.perplexity else ratio


def worse(m: Measured, reference: Measured, score: str = "perplexity") -> Interval:
    """How much worse in perplexity, or in recall, than the reference, in percent of that."""

    def items(of: Measured) -> dict[str, list[tuple[float, float]]]:
        totals = of.nats if score == "perplexity" else of.hits
        return {score: [(float(t), float(n)) for t, n in zip(totals, of.counts, strict=True)]}

    task = cast(Task, MeanOfTokens(score == "perplexity"))  # what was asked is asked already
    return Bootstrap([(score, task)], items(reference)).loss(items(m))


def table(rows: Sequence[Sequence[Pair]]) -> Iterator[str]:
    """Lines of Markdown, a format in each, on models with heads of one size."""
    header = [f"{m.model}: {c}" if i == 0 else c for m, _ in rows[0] for i, c in enumerate(_cells(m, m))]
    yield f"| kv | {' | '.join(header)} |"
    yield f"|{'---|' * (len(header) + 1)}"
    for row in rows:
        yield f"| `{row[0][0].kv}` | {' | '.join(cell for pair in row for cell in _cells(*pair).values())} |"


def facts(reference: Measured) -> str:
    """What the changes of one model are relative to, and over how much text."""
    chunks = f"; {reference.read_in_chunks.perplexity:.4f} by chunks" if reference.in_chunks else ""
    return (
        f"{reference.model}: perplexity {reference.perplexity:.4f} in float{chunks}, first {reference.recall:.4f}, "
        f"{sum(reference.counts):,} tokens of {len(reference.counts)} texts"
    )


def goals(pairs: Sequence[Pair]) -> Iterator[str]:
    """For one model, which goals its formats reach."""
    for what, most, formats in GOALS:
        found = [(worse(*pair), pair[0].kv) for pair in pairs if pair[0].kv in formats]
        if found:
            loss, kv = min(found, key=lambda item: item[0].value)
            says = "holds" if loss.value <= most else "does not hold"
            yield f"{pairs[0][0].model}, {what}: {kv} {_percent(loss)}, goal {most}%: {says}"


def _cells(m: Measured, reference: Measured) -> dict[str, str]:
    """By column."""
    if m.in_chunks:
        return {
            "by chunks": _percent(worse(m.read_in_chunks, reference.read_in_chunks)),
            "one by one": _percent(worse(m, reference)),
            "one by one beside chunks": _percent(worse(m, m.read_in_chunks)),
        }
    cells = {
        "bytes / fp16": f"{2 * m.cache_bytes / reference.cache_bytes:.4f}",
        "perplexity": _percent(worse(m, reference)),
    }
    if m.model == "needle-llama":
        cells |= {"recall": f"{m.recall:.4f}", "recall lost": _percent(worse(m, reference, "recall"))}
    return cells


def _percent(interval: Interval) -> str:
    digits = 2 if abs(interval.value) < 10 else 1 if abs(interval.value) < 100 else 0
    value, low, high = (round(x, digits) + 0.0 for x in (interval.value, interval.low, interval.high))  # no -0.0
    return f"{value:+.{digits}f}% ({low:+.{digits}f} to {high:+.{digits}f})"
