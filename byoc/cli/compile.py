"""``byoc compile model.onnx --target a,b -o model.byoc``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from byoc.cli.flags import Number, answer_flags, plugin_flag
from byoc.cli.language import LanguageFlags
from byoc.cli.output import print_json
from byoc.cli.planning import PlanRequest, check_requirement, planning_flags
from byoc.cli.progress import progress_bars
from byoc.errors import UsageError

if TYPE_CHECKING:
    from byoc.artifact import Artifact
    from byoc.partitioner.plan import Plan


@click.command("compile")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where to write the artifact.  [default: MODEL's name with .byoc, in this folder]",
)
@plugin_flag
@planning_flags
@click.option(
    "--require",
    type=Number(0.0, 100.0),
    metavar="PCT",
    help="Fail (exit code 8) when less of the FLOPs is on targets.",
)
@click.option("--dry-run", is_flag=True, help="Plan only: compile nothing, write no artifact.")
@click.option("--save-plan", type=click.Path(path_type=Path), metavar="P.JSON", help="Write the plan for review.")
@click.option(
    "--on-fail",
    type=click.Choice(["split", "host", "abort"]),
    default="split",
    show_default=True,
    help="When a codegen cannot compile a partition: split it, leave it to the host, or stop.",
)
@click.option("--mcpu", metavar="CPU", help="CPU to compile for, such as znver4.  [default: this machine's]")
@click.option(
    "--tune",
    type=click.IntRange(min=1),
    metavar="N",
    help="Measure up to N ways to cut the loops of each convolution and matrix product on the host; keep the best.",
)
@click.option(
    "--tune-db",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Measurements to choose by; --tune adds to them.  [default with --tune: OUTPUT's name with .tuning.db]",
)
@click.option("--emit-c", type=click.Path(path_type=Path), metavar="DIR", help="Write generated sources for reading.")
@click.option(
    "--cache-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where compiled parts are kept.  [default: $BYOC_CACHE_DIR, else ~/.cache/byoc]",
)
@click.option(
    "--sign",
    "sign_key",
    type=click.Path(path_type=Path),
    metavar="KEY.PEM",
    help="Sign the artifact with this Ed25519 private key, for --verify-key.",
)
@click.option("--no-cache", is_flag=True, help="Neither read nor write the cache.")
@click.option(
    "--pareto",
    type=click.Path(path_type=Path),
    metavar="REPORT.JSON",
    help="Language model: keep cache and weights as the report of byoc pareto says for --budget.",
)
@click.option("--budget", metavar="BYTES", help="With --pareto: memory for weights, cache and activations: 512MB.")
@answer_flags
def command(
    model: Path,
    output: Path | None,
    request: PlanRequest,
    require: float | None,
    dry_run: bool,
    save_plan: Path | None,
    on_fail: str,
    mcpu: str | None,
    tune: int | None,
    tune_db: Path | None,
    emit_c: Path | None,
    cache_dir: Path | None,
    sign_key: Path | None,
    no_cache: bool,
    pareto: Path | None,
    budget: str | None,
    as_json: bool,
) -> None:
    """Compile an ONNX MODEL, or the folder of a language model, into one artifact.

    Ends with one line that says how many ops each target has; "byoc explain" with the same flags says why.
    """
    import byoc
    from byoc.artifact.signature import private_key

    destination = output or Path(f"{model_name(model)}.byoc")
    if not dry_run:
        check_writable(destination)
    if save_plan is not None:
        check_writable(save_plan)
    if emit_c is not None:
        check_writable_folder(emit_c)
    if sign_key is not None:
        private_key(sign_key)
    if pareto is not None or budget is not None:
        request = replace(request, language=within_budget(request.language, pareto, budget))
    keywords = request.keywords()
    artifact: Artifact | None = None
    if tune:
        tune_db = tune_db or destination.with_suffix(".tuning.db")
        check_writable(tune_db)
    with progress_bars(remaining=bool(tune)) as progress, keeping_trials(tune_db if tune else None):
        # The plan comes first, so that --require and a bad pin stop before minutes of compiling.
        source = request.language.source(model)
        plan: Plan = byoc.partition(source, keywords.pop("targets", ()), progress=progress, **keywords)
        check_requirement(plan, require)
        if not dry_run:
            artifact = byoc.compile(
                plan,
                on_fail=on_fail,
                mcpu=mcpu,
                tune=tune or 0,
                tune_db=tune_db,
                cache_dir=cache_dir,
                # Generated sources are for reading; a cached artifact has none.
                use_cache=not no_cache and emit_c is None,
                progress=progress,
            )
            plan = type(plan).from_json(artifact.plan_json)
            check_requirement(plan, require)
            artifact.save(destination, sign_key=sign_key)
    if save_plan is not None:
        write_atomically(save_plan, plan.to_json())
    if artifact is not None and emit_c is not None:
        write_sources(emit_c, artifact.sources)
    written = {"artifact": destination, "sources": emit_c, "measurements": tune_db if tune else None}
    answer(plan, {"plan": save_plan} if dry_run else {**written, "plan": save_plan}, as_json)


@contextmanager
def keeping_trials(database: Path | None) -> Iterator[None]:
    """Say on Ctrl-C that what was measured so far is kept."""
    try:
        yield
    except KeyboardInterrupt:
        if database is not None and database.exists():
            click.echo(f"what was measured is kept in {database}; the same command goes on from there", err=True)
        raise


def answer(plan: Plan, written: Mapping[str, Path | None], as_json: bool) -> None:
    """Say what was written, and end with the plan's summary."""
    from byoc.explain import explain_json

    if as_json:
        named = {name: str(path) if path is not None else None for name, path in written.items()}
        print_json({"written": named, **explain_json(plan)})
        return
    for name, path in written.items():
        if path is not None:
            click.echo(f"wrote {name} {path}")
    click.echo(plan.summary())


def within_budget(flags: LanguageFlags, report: Path | None, budget: str | None) -> LanguageFlags:
    """The flags of the configuration that a report recommends, which is told.  Raises :class:`UsageError`."""
    if report is None or budget is None:
        raise UsageError(
            "--pareto and --budget go together",
            "a report is asked for what fits in so much memory",
            "write --pareto report.json --budget 512MB",
        )
    chosen = replace(flags, calibrate=None).given()
    if chosen:
        raise UsageError(f"--pareto chooses {chosen[0]}", "both cannot be given", "drop one of them")
    from byoc.pareto.configuration import Configuration
    from byoc.pareto.report import Report, parse_bytes, recommend
    from byoc.text_table import bytes_text

    found = Report.read(report)
    row = recommend(found, parse_bytes(budget))
    loss = f"loss {row['loss']['value']:.2f}% ({row['loss']['low']:.2f} to {row['loss']['high']:.2f})"
    size = bytes_text(row["memory"]["total"])
    click.echo(f"{report} recommends {Configuration.from_dict(row)}: {size}, {loss}", err=True)
    chunk = min(row["chunk"] or found.context, found.context)
    return replace(flags, kv=row["kv"], weights=row["weights"], context=found.context, chunk=chunk)


def model_name(model: Path) -> str:
    """The name of a file without its ending, or of a folder."""
    return model.resolve().name if model.is_dir() else model.stem


def check_writable(path: Path) -> None:
    """Raise :class:`UsageError` now rather than after compiling."""
    folder = path.parent
    if path.is_dir():
        raise UsageError(f"cannot write {path}", "it is a folder", f"name a file: {path / 'model.byoc'}")
    if path.exists() and not path.is_file():
        raise UsageError(f"cannot write {path}", "it is a device or a pipe, which a file would replace", "name a file")
    if not folder.is_dir():
        raise UsageError(f"cannot write {path}", f"the folder {folder} does not exist", f"mkdir -p {folder}")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"cannot write {path}", f"the folder {folder} is not writable", "choose another place")


def check_writable_folder(path: Path) -> None:
    """As :func:`check_writable`, for a folder that may be there already."""
    if path.is_dir():
        check_writable(path / "file")
    elif path.exists():
        raise UsageError(f"cannot write into {path}", "it is no folder", "name a folder, which is made if need be")
    else:
        check_writable(path)


def write_sources(folder: Path, sources: Mapping[str, str]) -> None:
    """Write each generated file into `folder`, replacing those of the same names."""
    folder.mkdir(exist_ok=True)
    for name, text in sorted(sources.items()):
        write_atomically(folder / Path(name).name, text)


def write_atomically(path: Path, text: str) -> None:
    """Write the whole file or nothing."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
