"""What the trained models of the shared folder are asked, and what their caches are calibrated on: token ids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.stories import StoryTokenizer, convert, stories_in

Array = np.ndarray[Any, Any]
Text = tuple[Array, Array]  # token ids, and the positions of those that are scored
WINDOW = 512
NEEDLE_LENGTHS = (256, 512, 1024, 2048)


@dataclass(frozen=True)
class Corpus:
    """Of one model.

    Attributes
    ----------
    folder: config.json and model.safetensors.
    texts: what is scored, each begun with an empty cache.
    calibration: a text like those, none of which is scored.
    """

    folder: Path
    texts: list[Text]
    calibration: tuple[int, ...]


def byte_corpus(models: Path, scratch: Path) -> Corpus:
    """80,000 bytes of two books that it was not trained on, in windows; calibrated on what stands before them."""
    held_out, before = b"", b""
    for name, tail in (("wizard-of-oz", 20_000), ("wikitext2-valid", 60_000)):
        book = (models / "text" / f"{name}.txt").read_bytes()
        held_out += book[-tail:]
        before += book[-tail - 64_000 : -tail]
    ids = np.frombuffer(held_out, np.uint8).astype(np.int64)
    windows = [ids[i : i + WINDOW] for i in range(0, len(ids) - WINDOW + 1, WINDOW)]
    return Corpus(models / "byte-llama", [(w, np.arange(1, WINDOW)) for w in windows], tuple(before))


def needle_corpus(models: Path, scratch: Path) -> Corpus:
    """Values that stand somewhere before the question for them: eval.npz at four lengths, and shorter sequences made
    anew, as those for calibration are: with 512 values of eval.npz alone, 2% of perplexity are within the noise."""
    folder = models / "needle-llama"
    with np.load(folder / "eval.npz") as file:
        texts = [
            (ids.astype(np.int64), np.flatnonzero(answer))
            for n in NEEDLE_LENGTHS
            for ids, answer in zip(file[f"ids_{n}"], file[f"answer_{n}"], strict=True)
        ]
    random = np.random.default_rng(0)
    calibration = tuple(int(i) for _ in range(8) for i in needle_sequence(random, 512))
    for length, count in ((256, 256), (512, 96)):
        places = [length - slot for slot in (7, 6, 2, 1)]
        texts += [(needle_sequence(random, length), np.array(places)) for _ in range(count)]
    return Corpus(folder, texts, calibration)


def needle_sequence(random: np.random.Generator, length: int, needles: int = 8, questions: int = 2) -> Array:
    """int64[length] as eval.npz has them: begin, filler with KEY k VAL v w at places of five tokens, ASK k ANS v w."""
    begin, key, value, ask, answer, slot = 1, 2, 3, 4, 5, 5
    ids = random.integers(192, 320, length)
    ids[0] = begin
    keys, values = random.permutation(np.arange(64, 128))[:needles], random.integers(128, 192, (needles, 2))
    for place, k, pair in zip(random.permutation((length - 1) // slot - questions), keys, values, strict=False):
        ids[1 + slot * place : 1 + slot * (place + 1)] = key, k, value, *pair
    for i, which in enumerate(random.permutation(needles)[:questions]):
        at = length - slot * (questions - i)
        ids[at : at + slot] = ask, keys[which], answer, *values[which]
    return ids


def story_corpus(models: Path, scratch: Path) -> Corpus:
    """Whole paragraphs of stories; the last sixteen pieces are for calibration."""
    tokenizer = StoryTokenizer(models / "stories260K" / "tok512.bin")
    text = (models / "text" / "tinystories-train-excerpt.dev.txt").read_text("utf-8")
    pieces = [tokenizer.encode(story)[:WINDOW] for story in stories_in(text)]
    texts = [(np.array(ids), np.arange(1, len(ids))) for ids in pieces[:-16]]
    folder = convert(models / "stories260K" / "stories260K.bin", scratch / "stories260K")
    return Corpus(folder, texts, tuple(i for ids in pieces[-16:] for i in ids))


CORPORA: dict[str, Callable[[Path, Path], Corpus]] = {
    "byte-llama": byte_corpus,
    "needle-llama": needle_corpus,
    "stories260K": story_corpus,
}
