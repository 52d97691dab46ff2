"""What each format of the KV cache costs the trained models of the shared folder: perplexity and recall.

    python -m benchmarks.kv_quality [--models byte-llama,needle-llama,stories260K] [--kv k8v8,k4v4] [--json FILE]
    python -m benchmarks.kv_quality --steps --kv k8v8,k4v4 [--json FILE]

What the file of --json holds already is not measured again.  With --steps, which wants a file of its own, tokens behind
the first 256 of a text are read one by one, by the kernel that generates, beside reading the same ones all at once.

byte-llama: perplexity per byte on the two texts' ends that it was not trained on, in windows of 512.  needle-llama:
recall of values and perplexity at the answers, at all four lengths.  stories260K: perplexity per token, in pieces of
whole paragraphs.  Float32 weights; every format is compiled for csource.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import byoc
from benchmarks.stories import StoryTokenizer, convert, stories_in
from byoc.llm import LanguageSession, Settings, language_model, parse_kv
from tests.models import shared_folder

FORMATS = (
    "k16v16", "k8v8", "k8v8:symmetric", "k8v8:k.per-channel", "k8v4", "k4v8", "k4v4", "k4v4:mean", "k4v4:hadamard",
    "k4v4:g16", "k4v4:symmetric", "k4v4:k.per-channel", "k4v4:k.g64:k.per-channel", "k4v4:k.g128:k.per-channel",
    "k4v4:per-channel", "k4v4:per-block", "k8v2", "k4v2", "k4v2:hadamard", "k4v2:k.per-channel", "k2v4", "k2v2",
    "k2v2:mean", "k2v2:hadamard", "k2v2:k.per-channel", "k2v2:g16",
)  # fmt: skip
REFERENCE = "k32v32"

Text = tuple[np.ndarray, np.ndarray]  # token ids, and the positions of those that are scored


@dataclass(frozen=True)
class Quality:
    """Over all scored tokens: the perplexity, the share of them that the model ranks first, bytes of the caches.

    `kv` is the format that was `asked` for, in groups that fit the model's heads; `at_once` the perplexity of the same
    tokens read by chunks.
    """

    model: str
    asked: str
    kv: str
    perplexity: float
    recall: float
    cache_bytes: int
    at_once: float = 0.0


def byte_texts(models: Path) -> list[Text]:
    tail = (models / "text" / "wizard-of-oz.txt").read_bytes()[-20_000:]
    tail += (models / "text" / "wikitext2-valid.txt").read_bytes()[-60_000:]
    ids = np.frombuffer(tail, np.uint8).astype(np.int64)
    return [(ids[i : i + 512], np.arange(1, 512)) for i in range(0, len(ids) - 511, 512)]


def needle_texts(models: Path) -> list[Text]:
    with np.load(models / "needle-llama" / "eval.npz") as file:
        return [
            (ids.astype(np.int64), np.flatnonzero(answer))
            for n in (256, 512, 1024, 2048)
            for ids, answer in zip(file[f"ids_{n}"], file[f"answer_{n}"], strict=True)
        ]


def story_texts(models: Path) -> list[Text]:
    tokenizer = StoryTokenizer(models / "stories260K" / "tok512.bin")
    text = (models / "text" / "tinystories-train-excerpt.dev.txt").read_text("utf-8")
    rows = [np.array(tokenizer.encode(story)[:512]) for story in stories_in(text)]
    return [(ids, np.arange(1, len(ids))) for ids in rows]


TEXTS = {"byte-llama": byte_texts, "needle-llama": needle_texts, "stories260K": story_texts}


@dataclass
class Score:
    """Of all places so far: minus the log-probability of what stands there, in nats, and how often it came first."""

    nats: float = 0.0
    hits: int = 0
    count: int = 0

    def add(self, logits: np.ndarray, wanted: np.ndarray) -> None:
        logits = logits.astype(np.float64) - logits.max(-1, keepdims=True)
        self.nats -= float((logits[np.arange(len(wanted)), wanted] - np.log(np.exp(logits).sum(-1))).sum())
        self.hits += int((logits.argmax(-1) == wanted).sum())
        self.count += len(wanted)

    @property
    def perplexity(self) -> float:
        return float(np.exp(self.nats / self.count))


def measure(name: str, folder: Path, kv: str, texts: list[Text], steps: bool) -> Quality:
    """One format on one model."""
    context = max(len(ids) for ids, _ in texts)
    heads = json.loads((folder / "config.json").read_text())
    group = heads["hidden_size"] // heads["num_attention_heads"]
    spec = kv if group >= 32 or ":g" in kv or ".g" in kv else f"{kv}:g{group}"
    settings = Settings(kv=parse_kv(spec, heads["num_hidden_layers"]), context=context)
    session = LanguageSession(byoc.compile(language_model(folder, settings), ["csource"], use_cache=False).session())
    at_once, found = Score(), Score()
    for ids, places in texts:
        places = places[places > session.chunk] if steps else places
        if len(places):
            session.reset()
            at_once.add(session.score(ids[: places[-1]])[0][places - 1], ids[places])
            if steps:
                found.add(step_by_step(session, ids, places), ids[places])
    found = found if steps else at_once
    return Quality(name, kv, spec, found.perplexity, found.hits / found.count, session.cache.nbytes, at_once.perplexity)


def step_by_step(session: LanguageSession, ids: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The logits of each place, whose token before is read by itself; what none needs in between is read by chunks."""
    session.reset()
    logits = []
    for place in places:
        held = int(session.lengths[0])
        if held < place - 1:
            session.prefill(ids[held : place - 1])
        logits.append(session.decode(ids[place - 1 : place])[0])
    return np.stack(logits)


def model_folder(models: Path, name: str, scratch: Path) -> Path:
    if name != "stories260K":
        return models / name
    return convert(models / name / "stories260K.bin", scratch / name)


class Results:
    """What was measured, kept in a file where one is named: what it holds is not measured again."""

    def __init__(self, path: Path | None, steps: bool) -> None:
        self.path, self.steps = path, steps
        known = json.loads(path.read_text()) if path and path.exists() else []
        self.found = {(row["model"], row["asked"]): Quality(**row) for row in known}

    def get(self, name: str, folder: Path, kv: str, texts: list[Text]) -> Quality:
        if (name, kv) not in self.found:
            self.found[name, kv] = measure(name, folder, kv, texts, self.steps)
            if self.path:
                self.path.write_text(json.dumps([asdict(q) for q in self.found.values()], indent=1) + "\n")
        return self.found[name, kv]


def rows(models: Path, names: list[str], formats: list[str], results: Results) -> Iterator[tuple[Quality, Quality]]:
    """(reference, format) for each model and format."""
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            folder, texts = model_folder(models, name, Path(scratch)), TEXTS[name](models)
            reference = results.get(name, folder, REFERENCE, texts)
            for kv in formats:
                yield reference, results.get(name, folder, kv, texts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(TEXTS))
    parser.add_argument("--kv", default=",".join(FORMATS))
    parser.add_argument("--steps", action="store_true", help="read token by token")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    folder = shared_folder()
    if folder is None:
        parser.error("no folder of shared models; set BYOC_SHARED")
    results = Results(chosen.json, chosen.steps)
    print(
        "| model | kv | cache / k16v16 | perplexity | change | recall | beside at once |\n|---|---|---|---|---|---|---|"
    )
    for reference, q in rows(folder / "models", chosen.models.split(","), chosen.kv.split(","), results):
        share, change = 2 * q.cache_bytes / reference.cache_bytes, q.perplexity / reference.perplexity - 1
        steps = f"{q.perplexity / q.at_once - 1:+.3%}" if chosen.steps else ""
        cells = (q.model, q.kv, f"{share:.4f}", f"{q.perplexity:.4f}", f"{change:+.2%}", f"{q.recall:.4f}", steps)
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
