"""The searches of docs/pareto.md on the trained models of the shared folder, each twice, and what they found.

    python -m benchmarks.pareto_findings FOLDER [--models byte,needle] [--spaces main,findings] [--resident]

Searches go on where an earlier call left them; FOLDER takes databases, the compile cache, reports and pages.  The
second search of each pair begins with an empty database, on the artifacts that the first one compiled; where its report
differs, this program fails.  ``--resident`` also measures resident set and speed, which differ from run to run.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from byoc.cli import main as byoc
from byoc.pareto.report import Report
from byoc.text_table import bytes_text
from tests.models import shared_folder

SPACES = Path(__file__).resolve().parents[1] / "examples" / "pareto"
CONTEXTS = {"byte": 1024, "needle": 2048}


def prepare(models: Path, folder: Path) -> None:
    """The texts that byte-llama was not trained on, other parts of the same books, and ids, for calibration."""
    oz, wiki = ((models / "text" / f"{n}.txt").read_bytes() for n in ("wizard-of-oz", "wikitext2-valid"))
    (folder / "heldout.txt").write_bytes(oz[-20_000:] + wiki[-60_000:])
    parts = (oz[100_000:102_048] + wiki[500_000:502_048]).decode("utf-8", "ignore")
    (folder / "calibrate.txt").write_bytes(parts.encode("ascii", "ignore"))
    with np.load(models / "needle-llama" / "eval.npz") as file:
        np.save(folder / "calibrate.npy", file["ids_256"][:8].reshape(-1).astype(np.int64))


def command(models: Path, folder: Path, model: str, space: str, round_: int) -> list[str]:
    """What is measured is in the model's own space, but for the findings, which are about both models."""
    if model == "byte":
        data = ["--text", str(folder / "heldout.txt"), "--calibrate", str(folder / "calibrate.txt")]
        task = "perplexity:window=512,stride=256,items=24"
    else:
        data = ["--calibrate", str(folder / "calibrate.npy")]
        data += ["--task", f"recall:file={models / 'needle-llama' / 'eval.npz'}"]
        task = "recall:length=1024"
    own = ["--space", str(SPACES / f"{model if space == 'main' else 'findings'}.toml")]
    if space == "findings":
        own += ["--task", task, "--no-halving"]
    name = folder / f"{model}-{space}{round_}"
    files = ["--db", f"{name}.db", "--save-report", f"{name}.json", "-o", f"{name}.html"]
    files += ["--cache-dir", str(folder / "cache")]
    return ["pareto", str(models / f"{model}-llama"), "--context", str(CONTEXTS[model]), *data, *own, *files]


def searched(models: Path, folder: Path, model: str, space: str, *, resident: bool) -> Report:
    """The report that two searches agree on."""
    found = []
    for round_ in (1, 2):
        more = [] if resident and round_ == 1 else ["--no-resident"]
        if byoc([*command(models, folder, model, space, round_), *more]):
            raise SystemExit(1)
        found.append(Report.read(folder / f"{model}-{space}{round_}.json"))
    if json.dumps(_reproducible(found[0])) != json.dumps(_reproducible(found[1])):
        raise SystemExit(f"two searches of {space} on {model} found different things")
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", default="byte,needle")
    parser.add_argument("--spaces", default="main,findings")
    parser.add_argument("--resident", action="store_true")
    chosen, shared = parser.parse_args(), shared_folder()
    if shared is None:
        parser.error("no folder of shared models; set BYOC_SHARED")
    folder = chosen.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    prepare(shared / "models", folder)
    for space in chosen.spaces.split(","):
        for model in chosen.models.split(","):
            report = searched(shared / "models", folder, model, space, resident=chosen.resident)
            print_rows(report)
            print_effects(report)


if __name__ == "__main__":
    main()
