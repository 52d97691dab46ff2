"""What each format of the KV cache costs the trained models of the shared folder: perplexity and recall.

    python -m benchmarks.kv_quality [--models byte-llama,needle-llama,stories260K] [--kv k8v8,k4v4] [--json FILE]
    python -m benchmarks.kv_quality --steps --kv k8v8,k4v4 [--json FILE]

Prints a table for each size of heads, as docs/language-models.md has it, then which goals hold.  What the file of
--json holds already is not measured again: begin a new one when kernels have changed.  With --steps, which wants a file
of its own, tokens behind the first 256 of a text are read one by one, by the kernel that generates, and by chunks too.

Weights are float32; every format is compiled for csource and reads the same texts (benchmarks/kv_texts.py), each with
an empty cache.  Changes are relative to float32 caches, positive where a format is worse; intervals are 95%, from a
paired bootstrap over texts.  Bytes are those that the session allocated, compared with the formula.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

import byoc
from benchmarks.kv_quality_report import Measured, Pair, facts, goals, table
from benchmarks.kv_texts import CORPORA, Array, Corpus
from byoc.errors import UsageError
from byoc.llm import CacheFormat, KVSpec, LanguageSession, Settings, language_model
from byoc.llm.config import read_config
from byoc.llm.kv_spec import check_fits
from byoc.pareto.memory import cache_bytes
from tests.models import shared_folder

REFERENCE = "k32v32"
FORMATS = (
    # the widths of keys and values
    "k16v16", "k8v8", "k8v4", "k4v8", "k4v4", "k8v2", "k4v2", "k2v8", "k2v4", "k2v2",
    # at 8 bits: symmetry, granularities
    "k8v8:symmetric", "k8v8:per-channel", "k8v8:per-block", "k8v8:per-tensor",
    # at 4 bits: key transforms, groups, symmetry, granularities
    "k4v4:mean", "k4v4:hadamard", "k4v4:g16", "k4v4:g8", "k4v4:symmetric", "k4v4:symmetric:hadamard",
    "k4v4:k.per-channel", "k4v4:k.g64:k.per-channel", "k4v4:k.g128:k.per-channel", "k4v4:per-channel",
    "k4v4:per-block", "k4v4:per-block:hadamard", "k4v4:per-tensor", "k4v4:per-tensor:mean", "k4v4:per-tensor:hadamard",
    # 2 bits: what helps the keys, then smaller groups
    "k8v2:mean", "k8v2:hadamard",
    "k4v2:mean", "k4v2:hadamard", "k4v2:k.per-channel", "k4v2:k.per-channel:v.g16",
    "k2v4:mean", "k2v4:hadamard", "k2v4:k.per-channel",
    "k2v2:mean", "k2v2:hadamard", "k2v2:k.per-channel", "k2v2:k.per-channel:v.g16", "k2v2:g16", "k2v2:g8",
)  # fmt: skip


def fitted(formats: Sequence[str], head_dim: int) -> list[KVSpec]:
    """Those that heads of `head_dim` channels can have, each once: groups of 32 become the head where that is less."""

    def side(form: CacheFormat) -> CacheFormat:
        narrow = not form.is_float and form.granularity == "per-token" and form.group == 32 > head_dim
        return replace(form, group=head_dim) if narrow else form

    found: dict[KVSpec, None] = {}
    for text in formats:
        spec = KVSpec.parse(text)
        spec = replace(spec, keys=side(spec.keys), values=side(spec.values))
        with contextlib.suppress(UsageError):
            check_fits(spec, head_dim)
            found[spec] = None
    return list(found)


def measure(name: str, corpus: Corpus, spec: KVSpec, steps: bool) -> Measured:
    """One format on one model."""
    context = max(len(ids) for ids, _ in corpus.texts)
    settings = Settings(kv=spec, context=context, calibration=corpus.calibration)
    model = language_model(corpus.folder, settings)
    session = LanguageSession(byoc.compile(model, ["csource"], use_cache=False).session())
    size = cache_bytes(read_config(corpus.folder), settings, context)
    if session.cache.nbytes != size:
        raise SystemExit(f"{spec} on {name} takes {session.cache.nbytes} bytes, the formula says {size}")
    texts = [(ids, places[places > session.chunk] if steps else places) for ids, places in corpus.texts]
    texts = [(ids, places) for ids, places in texts if len(places)]
    in_chunks = [scored(in_chunk_logits(session, ids, places), ids[places]) for ids, places in texts]
    found = [scored(step_logits(session, ids, places), ids[places]) for ids, places in texts] if steps else in_chunks
    nats, hits = zip(*found, strict=True)
    by_chunks = [n for n, _ in in_chunks] if steps else []
    return Measured(name, str(spec), size, [len(places) for _, places in texts], hits, nats, by_chunks)


def in_chunk_logits(session: LanguageSession, ids: Array, places: Array) -> Array:
    """float32[places, vocabulary], what the model expects at each place, of a text read by chunks."""
    session.reset()
    return session.score(ids[: places[-1]])[0][places - 1]


def step_logits(session: LanguageSession, ids: Array, places: Array) -> Array:
    """The same, the token before each place read by itself; what no place needs in between is read by chunks."""
    session.reset()
    logits = []
    for place in places:
        held = int(session.lengths[0])
        if held < place - 1:
            session.prefill(ids[held : place - 1])
        logits.append(session.decode(ids[place - 1 : place])[0])
    return np.stack(logits)


def scored(logits: Array, wanted: Array) -> tuple[float, int]:
    """Minus the log-probability of the tokens that stand there, in nats, and how many of them come first."""
    rows = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    chosen = rows[np.arange(len(wanted)), wanted]
    return float(np.log(np.exp(rows).sum(-1)).sum() - chosen.sum()), int((rows.argmax(-1) == wanted).sum())


class Results:
    """What was measured, kept in a file where one is named: what it holds is not measured again."""

    def __init__(self, path: Path | None, steps: bool) -> None:
        self.path, self.steps = path, steps
        known = json.loads(path.read_text()) if path and path.exists() else []
        self.found = {(row["model"], row["kv"]): Measured(**row) for row in known}

    def get(self, name: str, corpus: Corpus, spec: KVSpec) -> Measured:
        key = name, str(spec)
        if key not in self.found:
            self.found[key] = measure(name, corpus, spec, self.steps)
            print(f"{name} {spec}: perplexity {self.found[key].perplexity:.4f}", file=sys.stderr, flush=True)
            if self.path:
                partial = self.path.with_suffix(".partial")
                partial.write_text(json.dumps([asdict(m) for m in self.found.values()]) + "\n")
                partial.replace(self.path)
        return self.found[key]


def measured(corpora: dict[str, Corpus], formats: Sequence[str], results: Results) -> Iterator[list[list[Pair]]]:
    """For each size of heads the formats that fit, each on all models with such heads."""
    sizes = {name: read_config(corpus.folder).head_dim for name, corpus in corpora.items()}
    for size in dict.fromkeys(sizes.values()):
        names = [name for name in corpora if sizes[name] == size]
        floats = {name: results.get(name, corpora[name], KVSpec.parse(REFERENCE)) for name in names}
        yield [
            [(results.get(name, corpora[name], spec), floats[name]) for name in names] for spec in fitted(formats, size)
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(CORPORA))
    parser.add_argument("--kv", default=",".join(FORMATS))
    parser.add_argument("--steps", action="store_true", help="read token by token")
    parser.add_argument("--json", type=Path)
    chosen, folder = parser.parse_args(), shared_folder()
    if folder is None:
        parser.error("no folder of shared models; set BYOC_SHARED")
    results = Results(chosen.json, chosen.steps)
    with tempfile.TemporaryDirectory() as scratch:
        corpora = {name: CORPORA[name](folder / "models", Path(scratch)) for name in chosen.models.split(",")}
        for rows in measured(corpora, chosen.kv.split(","), results):
            print(*(facts(reference) for _, reference in rows[0]), "", *table(rows), "", sep="\n", flush=True)
            for pairs in zip(*rows, strict=True):
                print(*goals(pairs), sep="\n")


if __name__ == "__main__":
    main()
