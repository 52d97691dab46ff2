"""``byoc pareto ./model --text corpus.txt -o report.html``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from byoc.cli.compile import check_writable, write_atomically
from byoc.cli.flags import answer_flags, plugin_flag
from byoc.cli.output import print_json
from byoc.cli.planning import parse_targets
from byoc.cli.progress import progress_bars
from byoc.errors import UsageError

if TYPE_CHECKING:
    from byoc.pareto.report import Report

_PATH = click.Path(path_type=Path)


@click.command("pareto")
@click.argument("model", type=_PATH)
@click.option("--text", type=_PATH, metavar="FILE", help="Measure perplexity on this text, or token ids (.npy).")
@click.option("--task", "tasks", multiple=True, metavar="NAME:K=V,..", help="Measure a task (repeatable).")
@click.option("--space", "space_file", type=_PATH, metavar="FILE", help="TOML or YAML file of what to search.")
@click.option("--calibrate", type=_PATH, metavar="FILE", help="Text that awq weights and per-tensor caches need.")
@click.option("--context", type=click.IntRange(min=8), metavar="N", help="Tokens in the cache.  [default: the model's]")
@click.option(
    "-t", "--target", "targets", multiple=True, default=("csource",), show_default=True, metavar="A,B", help="Codegens."
)
@click.option("-o", "--output", type=_PATH, metavar="FILE.HTML", help="Write the report as a page.")
@click.option("--save-report", type=_PATH, metavar="FILE.JSON", help="Write the report for byoc compile --pareto.")
@click.option("--csv", "csv_file", type=_PATH, metavar="FILE.CSV", help="Write a line for each configuration.")
@click.option("--db", type=_PATH, metavar="FILE", help="Finished trials.  [default: MODEL's name with .pareto.db]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of samples and of the search.")
@click.option("--trials", type=click.IntRange(min=1), default=64, show_default=True, help="Of NSGA-II.")
@click.option(
    "--exhaustive",
    type=click.IntRange(min=0),
    default=128,
    show_default=True,
    metavar="N",
    help="Look at all configurations where there are at most N, else search by NSGA-II.",
)
@click.option("--no-halving", is_flag=True, help="Show every configuration all items, not only the better half.")
@click.option("--no-resident", is_flag=True, help="Do not measure resident set and speed.")
@click.option("--scheduler", default="", metavar="WHERE", help="local, or the address of a Dask scheduler: tcp://...")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="With --scheduler local.  [default: cores]")
@click.option("--cache-dir", type=_PATH, metavar="DIR", help="Where compiled parts are kept.")
@plugin_flag
@answer_flags
def command(
    model: Path,
    text: Path | None,
    tasks: tuple[str, ...],
    space_file: Path | None,
    calibrate: Path | None,
    context: int | None,
    targets: tuple[str, ...],
    output: Path | None,
    save_report: Path | None,
    csv_file: Path | None,
    db: Path | None,
    seed: int,
    trials: int,
    exhaustive: int,
    no_halving: bool,
    no_resident: bool,
    scheduler: str,
    workers: int | None,
    cache_dir: Path | None,
    as_json: bool,
) -> None:
    """Find how to keep the cache and the weights of a language MODEL (a folder) in how much memory.

    Compiles configurations, measures memory and accuracy, and ends with those that nothing smaller equals.
    Interrupted, it keeps what is finished; the same command goes on from there.
    """
    from byoc.llm.calibration_text import read_calibration
    from byoc.llm.config import read_config
    from byoc.llm.model import is_model_folder
    from byoc.pareto.evaluate import Study, freeze
    from byoc.pareto.evolution import Evolution
    from byoc.pareto.run import Effort, search
    from byoc.pareto.space_file import read_space
    from byoc.pareto.workers import workers_of

    if not is_model_folder(model):
        raise UsageError(
            f"{model} is no folder of a language model",
            "weights and caches are compiled in many ways, from config.json and safetensors",
            "name a folder in the layout of Hugging Face; byoc compile --kv takes an ONNX model as it is",
        )
    config = read_config(model)
    space, in_file = read_space(space_file)
    chosen = chosen_tasks(in_file, tasks, text)
    if calibrate is not None:
        read_calibration(calibrate, model)  # a wrong file is told before anything is compiled
    database = db or Path(f"{model.resolve().name}.pareto.db")
    for file in filter(None, (output, save_report, csv_file, database)):
        check_writable(file)
    frozen = tuple((name, freeze(_absolute(options))) for name, options in chosen.items())
    study = Study(
        str(model.resolve()), frozen, context or config.longest, parse_targets(targets), seed,
        cache_dir=str(cache_dir.resolve()) if cache_dir else "",
        calibrate=str(calibrate.resolve()) if calibrate else "",
    )  # fmt: skip
    parts = (1.0,) if no_halving else (0.25, 1.0)
    effort = Effort(exhaustive, parts, Evolution(trials), not no_resident)
    try:
        with workers_of(scheduler, workers or 0) as running, progress_bars(remaining=True) as progress:
            report = search(study, space, effort, database, running, progress or (lambda *_: None))
    except KeyboardInterrupt:
        click.echo(f"finished trials are in {database}; the same command goes on from there", err=True)
        raise
    _write(report, model, output, save_report, csv_file)
    _answer(report, model, {"page": output, "report": save_report, "csv": csv_file}, as_json)


def chosen_tasks(in_file: dict[str, Any], written: Sequence[str], text: Path | None) -> dict[str, dict[str, Any]]:
    """Options by task: those of the space's file, those of ``--task``, and ``--text``, each before the one ahead of it.

    Raises :class:`UsageError` where there is no task.
    """
    chosen = {name: dict(options) for name, options in in_file.items()}
    for name, options in [*map(parse_task, written), *([("perplexity", {"text": str(text)})] if text else [])]:
        chosen[name] = {**chosen.get(name, {}), **options}
    if not chosen:
        raise UsageError(
            "no task is given", "accuracy is measured by tasks", "--text corpus.txt measures perplexity on a text"
        )
    return chosen


def parse_task(text: str) -> tuple[str, dict[str, Any]]:
    """``"recall:file=eval.npz,length=2048"``; values are JSON where they can be.  Raises :class:`UsageError`."""
    name, _, rest = text.partition(":")
    options: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise UsageError(f'"{part}" in "{text}" gives no value', "", "write --task recall:file=eval.npz,length=512")
        try:
            options[key] = json.loads(value)
        except ValueError:
            options[key] = value
    return name, options


def _absolute(options: dict[str, Any]) -> dict[str, Any]:
    """Files by their whole path, since workers run elsewhere."""
    return {k: str(Path(v).resolve()) if k in ("file", "text") and v else v for k, v in options.items()}


def _write(report: Report, model: Path, output: Path | None, save_report: Path | None, csv_file: Path | None) -> None:
    if output is not None:
        from byoc.pareto.page import report_page

        write_atomically(output, report_page(report, str(model)))
    if save_report is not None:
        write_atomically(save_report, report.to_json())
    if csv_file is not None:
        write_atomically(csv_file, report.to_csv())


def _answer(report: Report, model: Path, written: dict[str, Path | None], as_json: bool) -> None:
    if as_json:
        print_json({"written": {n: str(p) if p else None for n, p in written.items()}, **vars(report)})
        return
    for name, path in written.items():
        if path is not None:
            click.echo(f"wrote {name} {path}")
    click.echo(report.text(str(model)))
