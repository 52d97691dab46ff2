"""``byoc bench-llm m.byoc --llama-cpp ./model-dir``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from byoc.cli.flags import answer_flags, verify_key_flag
from byoc.cli.output import print_json
from byoc.errors import UsageError

if TYPE_CHECKING:
    from byoc.llm.bench.engine import EngineSpec
    from byoc.llm.bench.rounds import Effort


@click.command("bench-llm")
@click.argument("artifacts", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--contexts", default="128,1024,4096", show_default=True, metavar="N,...", help="Tokens to read.")
@click.option("--steps", type=click.IntRange(min=1), default=32, show_default=True, metavar="N",
              help="Tokens to generate behind each context, in a round.")  # fmt: skip
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, metavar="N",
              help="Turns of each engine.")  # fmt: skip
@click.option("--prefill-rounds", type=click.IntRange(min=1), default=3, show_default=True, metavar="N",
              help="Turns of reading each context.")  # fmt: skip
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="For every engine.  [default: all cores]")
@click.option("--llama-cpp", "folder", type=click.Path(path_type=Path), metavar="DIR",
              help="Measure llama.cpp beside, on the model in this folder, or on a GGUF file.")  # fmt: skip
@click.option("--llama-kv", default="f16,q8_0,q4_0", show_default=True, metavar="TYPE,...",
              help="Its types of caches.")  # fmt: skip
@verify_key_flag
@answer_flags
def command(
    artifacts: tuple[Path, ...],
    contexts: str,
    steps: int,
    rounds: int,
    prefill_rounds: int,
    threads: int | None,
    folder: Path | None,
    llama_kv: str,
    verify_key: Path | None,
    as_json: bool,
) -> None:
    """Time how fast ARTIFACTS of a language model read and write at several contexts.

    Every engine has a process of its own, and they take turns.  llama.cpp gets a GGUF file that is written from the
    same folder, its weights of as many bits as the artifact's; or the file that is given.
    """
    from byoc.llm.bench.bandwidth import read_bandwidth
    from byoc.llm.bench.report import as_json as report
    from byoc.llm.bench.report import ratio_text, speed_text
    from byoc.llm.bench.rounds import Effort, measure

    effort = Effort(_numbers(contexts), steps, rounds, prefill_rounds)
    threads = threads or len(os.sched_getaffinity(0))
    facts = [_facts(path, effort, verify_key) for path in artifacts]
    with tempfile.TemporaryDirectory() as scratch:
        engines = _artifacts(artifacts, facts, threads, verify_key)
        if folder is not None:
            engines += _rivals(folder, facts, llama_kv, threads, effort, Path(scratch) / "model.gguf")
        bandwidth = read_bandwidth(threads)
        timings = [t for group in measure(engines, int(facts[0]["vocabulary"]), effort) for t in group]
    if as_json:
        print_json(report(timings, bandwidth, threads))
        return
    click.echo("\n\n".join(text for text in (speed_text(timings, bandwidth), ratio_text(timings)) if text))


def _numbers(text: str) -> tuple[int, ...]:
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise UsageError(f'--contexts "{text}" is no list of numbers of tokens', "", "write it as 128,1024,4096")
    return found


def _facts(path: Path, effort: Effort, verify_key: Path | None) -> dict[str, Any]:
    """Of an artifact's manifest; refuses one that cannot take what is to be measured."""
    from byoc.artifact import read_manifest

    facts = read_manifest(path, verify_key=verify_key).language_model
    if facts is None:
        raise UsageError(f"{path} holds no language model", "", "compile a model's folder")
    needed = max(effort.contexts) + max(effort.steps, 2)
    if int(facts["context"]) < needed:
        raise UsageError(
            f"{path} holds {facts['context']} tokens, measuring takes {needed}",
            f"{max(effort.contexts)} are read, then {max(effort.steps, 2)} generated",
            f"compile it with --context {needed}, or give smaller --contexts",
        )
    return dict(facts)


def _artifacts(
    paths: Sequence[Path], facts: Sequence[dict[str, Any]], threads: int, verify_key: Path | None
) -> list[EngineSpec]:
    from byoc.llm.bench.engine import EngineSpec

    names = [f"{f['kv']} {f['weights']}" if f["weights"] != "f32" else str(f["kv"]) for f in facts]
    names = [n if names.count(n) == 1 else f"{n} ({p.name})" for n, p in zip(names, paths, strict=True)]
    return [
        EngineSpec("byoc", str(p), name, threads, int(f["context"]), str(verify_key or ""))
        for p, f, name in zip(paths, facts, names, strict=True)
    ]


def _rivals(
    folder: Path, facts: Sequence[dict[str, Any]], kinds: str, threads: int, effort: Effort, path: Path
) -> list[EngineSpec]:
    from byoc.llm.bench.engine import EngineSpec
    from byoc.llm.bench.gguf_file import write_gguf
    from byoc.llm.bench.llama_cpp import KV_TYPES, bindings

    wanted = [kind.strip() for kind in kinds.split(",")]
    unknown = [kind for kind in wanted if kind not in KV_TYPES]
    if unknown:
        raise UsageError(f'llama.cpp has no cache of the type "{unknown[0]}"', "", f"it has {', '.join(KV_TYPES)}")
    if any(int(f["batch"]) != 1 for f in facts):
        raise UsageError("llama.cpp is measured with one sequence", "an artifact has more", "compile it with --batch 1")
    bindings()
    if folder.suffix == ".gguf":
        path = folder
    else:
        write_gguf(folder, path, int(facts[0]["weight_bits"]))
    context = max(effort.contexts) + max(effort.steps, 2)
    return [EngineSpec("llama.cpp", str(path), kind, threads, context) for kind in wanted]
