"""The searches of docs/pareto.md on the trained models of the shared folder, each twice, and what they found.

    python -m benchmarks.pareto_findings FOLDER [--models byte,needle,stories] [--spaces main,findings] [--workers 2]

Searches go on where an earlier call left them; FOLDER takes databases, the compile cache, reports and pages.  The
second search of each pair begins with an empty database, on the artifacts that the first one compiled; where its report
differs, this program fails.  ``--resident`` also measures resident set and speed of the main searches, which differ
from run to run.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.stories import model_with_text
from byoc.cli import main as byoc
from byoc.pareto.report import Report
from byoc.text_table import bytes_text
from tests.models import shared_folder

SPACES = Path(__file__).resolve().parents[1] / "examples" / "pareto"
# The paper's findings as choices: one value in the place of another, all else being equal.
FINDINGS: tuple[tuple[str, str, tuple[tuple[Any, Any], ...]], ...] = (
    ("keys are more sensitive than values", "bits", (("k2v4", "k4v2"), ("k2v8", "k8v2"), ("k4v8", "k8v4"))),
    ("per-token is the best granularity", "granularity",
     (("per-tensor", "per-token"), ("per-block", "per-token"), ("per-channel", "per-token"))),
    ("small models want small groups", "group", ((32, 8), (128, 8), (128, 32))),
    ("keys of 4 bits need a transform", "key_transform", (("none", "hadamard"), ("none", "mean"))),
    ("the chunk is neutral for accuracy", "chunk", ((64, 256), (256, 0))),
    ("AWQ at 4 bits costs little", "weights", (("f32", "awq4:g32"), ("f32", "rtn4:g32"), ("rtn4:g32", "awq4:g32"))),
    ("which values are best depends on the model", "bits", (("k4v4", "k4v2"), ("k8v8", "k4v4"))),
)  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """A model with what it is searched with.

    Attributes
    ----------
    context: tokens in the cache.  data: flags of all its searches.
    task: what the search of findings measures, as ``--task`` takes it; the other one measures what its space says.
    """

    folder: Path
    context: int
    data: tuple[str, ...]
    task: str


def subjects(models: Path, folder: Path) -> dict[str, Subject]:
    """The models by name; texts and token ids that they read are written into `folder`.

    byte-llama reads a text that it was not trained on, and is calibrated on other parts of the same books.
    """
    oz, wiki = ((models / "text" / f"{n}.txt").read_bytes() for n in ("wizard-of-oz", "wikitext2-valid"))
    (folder / "heldout.txt").write_bytes(oz[-20_000:] + wiki[-60_000:])
    parts = (oz[100_000:102_048] + wiki[500_000:502_048]).decode("utf-8", "ignore")
    (folder / "calibrate.txt").write_bytes(parts.encode("ascii", "ignore"))
    answers = models / "needle-llama" / "eval.npz"
    with np.load(answers) as file:
        np.save(folder / "calibrate.npy", file["ids_256"][:8].reshape(-1).astype(np.int64))
    tales = model_with_text(
        models / "stories260K", models / "text" / "tinystories-train-excerpt.dev.txt", folder / "stories260K"
    )
    heldout, ids = str(folder / "heldout.txt"), str(tales / "ids.npy")
    byte = ("--text", heldout, "--calibrate", str(folder / "calibrate.txt"))
    needle = ("--task", f"recall:file={answers}", "--calibrate", str(folder / "calibrate.npy"))
    return {
        "byte": Subject(models / "byte-llama", 1024, byte, "perplexity:window=512,stride=256,items=24"),
        "needle": Subject(models / "needle-llama", 2048, needle, "recall:length=1024"),
        "stories": Subject(tales, 512, ("--task", f"perplexity:text={ids},items=48"), ""),
    }


def command(name: str, subject: Subject, space: str, folder: Path, round_: int, workers: int) -> list[str]:
    """Of one search: in the model's own space, the usual one where it has none, or in that of the findings."""
    file = SPACES / f"{name if space == 'main' else space}.toml"
    flags = ["--context", str(subject.context), *subject.data, *(["--space", str(file)] if file.is_file() else [])]
    if space == "findings":
        flags += ["--task", subject.task, "--no-halving"]
    if workers > 1:
        flags += ["--scheduler", "local", "--workers", str(workers)]
    path = folder / f"{name}-{space}{round_}"
    files = ["--db", f"{path}.db", "--save-report", f"{path}.json", "-o", f"{path}.html"]
    return ["pareto", str(subject.folder), *flags, *files, "--cache-dir", str(folder / "cache")]


def searched(name: str, subject: Subject, space: str, folder: Path, *, workers: int, resident: bool) -> Report:
    """The report that two searches agree on."""
    found = []
    for round_ in (1, 2):
        more = [] if resident and round_ == 1 else ["--no-resident"]
        if byoc([*command(name, subject, space, folder, round_, workers), *more]):
            raise SystemExit(1)
        found.append(Report.read(folder / f"{name}-{space}{round_}.json"))
    if json.dumps(_reproducible(found[0])) != json.dumps(_reproducible(found[1])):
        raise SystemExit(f"two searches of {space} on {name} found different things")
    return found[0]


def _reproducible(report: Report) -> dict[str, Any]:
    return {**vars(report), "rows": [{k: v for k, v in row.items() if k != "resident"} for row in report.rows]}


def print_rows(report: Report) -> None:
    """All configurations that saw all items, with what they save against each baseline."""
    print(f"\n| {report.model}, {report.context} | memory | loss | 95% | {' | '.join(report.baselines)} |")
    print("|---|---|---|---|" + "---|" * len(report.baselines))
    for row in (r for r in report.rows if r["part"] == 1):
        memory, loss = row["memory"]["total"], row["loss"]
        name = f"{row['kv']} {row['weights']} chunk {row['chunk']}{' (frontier)' if row['frontier'] else ''}"
        saved = " | ".join(f"{100 * (1 - memory / b['total']):.0f}%" for b in report.baselines.values())
        interval = f"{loss['value']:.2f}% | {loss['low']:.2f} to {loss['high']:.2f}"
        print(f"| {name} | {bytes_text(memory)} | {interval} | {saved} |")


def print_resident(report: Report) -> None:
    """Resident set and speed of the reference and the frontier, at the full context."""
    print(f"\n| {report.model}, {report.context} | memory | resident | prefill, tokens/s | decode, tokens/s |")
    print("|---|---|---|---|---|")
    for row in (r for r in report.rows if r.get("resident")):
        found, name = row["resident"], f"{row['kv']} {row['weights']} chunk {row['chunk']}"
        rates = " | ".join(f"{found[k]:,.0f}" for k in ("prefill_rate", "decode_rate"))
        more = bytes_text(found["peak"] - found["before"])
        print(f"| {name} | {bytes_text(row['memory']['total'])} | {more} more than before loading | {rates} |")


def print_effects(report: Report) -> None:
    """What each choice changes."""
    print(f"\n| {report.model} | points of loss | 95% | cache | in all | pairs |\n|---|---|---|---|---|---|")
    for effect in report.effects:
        loss = effect["loss"]
        size = " | ".join(f"{effect[k] / 1024:+.0f} KiB" for k in ("cache", "memory"))
        print(
            f"| {effect['axis']} {effect['than']} → {effect['value']} | {loss['value']:+.2f} | "
            f"{loss['low']:+.2f} to {loss['high']:+.2f} | {size} | {effect['pairs']} |"
        )


def print_findings(report: Report) -> None:
    """Each finding with the points of loss that its choices change, and whether the interval shows it."""
    known = {(e["axis"], e["than"], e["value"]): e["loss"] for e in report.effects}
    for sentence, axis, choices in FINDINGS:
        print(f"\n{report.model}: {sentence}")
        for than, value in choices:
            if (axis, than, value) in known:
                loss, sign = known[axis, than, value], 1
            elif (axis, value, than) in known:
                loss, sign = known[axis, value, than], -1
            else:
                print(f"  {value} for {than}: not measured")
                continue
            low, high = sorted(sign * loss[k] + 0.0 for k in ("low", "high"))  # no -0.00
            shown = "worse" if low > 0 else "better" if high < 0 else "not shown to differ"
            print(f"  {value} for {than}: {sign * loss['value'] + 0.0:+.2f} ({low:+.2f} to {high:+.2f}), {shown}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", default="byte,needle,stories")
    parser.add_argument("--spaces", default="main,findings")
    parser.add_argument("--workers", type=int, default=1, help="processes that run trials")
    parser.add_argument("--resident", action="store_true")
    chosen, shared = parser.parse_args(), shared_folder()
    if shared is None:
        parser.error("no folder of shared models; set BYOC_SHARED")
    folder = chosen.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    known = subjects(shared / "models", folder)
    for space in chosen.spaces.split(","):
        for name in chosen.models.split(","):
            if space == "findings" and not known[name].task:
                continue
            report = searched(
                name, known[name], space, folder, workers=chosen.workers, resident=chosen.resident and space == "main"
            )
            print_rows(report)
            print_effects(report)
            if chosen.resident and space == "main":
                print_resident(report)
            if space == "findings":
                print_findings(report)


if __name__ == "__main__":
    main()
