"""``byoc profile model.byoc`` and ``byoc profile model.onnx --target a,b``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from byoc.cli.compile import check_writable, write_atomically
from byoc.cli.flags import answer_flags, plugin_flag, verify_key_flag
from byoc.cli.output import print_json
from byoc.cli.planning import PlanRequest, planning_flags
from byoc.cli.progress import progress_bars
from byoc.errors import UsageError

if TYPE_CHECKING:
    from byoc.artifact import EntryFunction
    from byoc.profile import Profile
    from byoc.runtime import Session


@click.command("profile")
@click.argument("source", metavar="MODEL", type=click.Path(path_type=Path))
@plugin_flag
@planning_flags
@click.option("--input", "inputs", multiple=True, metavar="X=A.NPY", help="An input; those not given are random.")
@click.option("--entry", metavar="NAME", help="Entry function, where there are several.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="For random inputs.")
@click.option(
    "--repeat", type=click.IntRange(min=1), default=10, show_default=True, metavar="N", help="Runs to follow."
)
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Threads for the host and the partitions.")
@click.option("--trace", type=click.Path(path_type=Path), metavar="T.JSON", help="Write a trace for Chrome, Perfetto.")
@click.option(
    "--save-costs",
    type=click.Path(path_type=Path),
    metavar="COSTS.JSON",
    help="Measure every op on the host and on each target, for --costs; needs the ONNX model.",
)
@verify_key_flag
@answer_flags
def command(
    source: Path,
    request: PlanRequest,
    inputs: tuple[str, ...],
    entry: str | None,
    seed: int,
    repeat: int,
    threads: int | None,
    trace: Path | None,
    save_costs: Path | None,
    verify_key: Path | None,
    as_json: bool,
) -> None:
    """Say where the time of a run goes: to partitions, host ops, memory and the VM.

    MODEL is an artifact (.byoc), or an ONNX model, which is compiled with the flags given.
    """
    from byoc.profile import chrome_trace, profile

    for file in filter(None, (trace, save_costs)):
        check_writable(file)
    if save_costs is not None and source.suffix == ".byoc":
        raise UsageError(
            "--save-costs needs the ONNX model",
            "costs are those of every op on the host and on each target, and an artifact has each op once",
            f"byoc profile model.onnx --target A,B --save-costs {save_costs}",
        )
    with open_session(source, request, threads, verify_key) as session:
        from byoc.cli.run import find_entry, make_inputs

        function = find_entry(session, entry)
        shapes = shape_texts(request) if source.suffix == ".byoc" else ()
        result = profile(session, make_inputs(function, inputs, shapes, seed), entry=function.name, runs=repeat)
    if trace is not None:
        write_atomically(trace, json.dumps(chrome_trace(result)) + "\n")
    if save_costs is not None:
        write_atomically(save_costs, costs_text(source, request, inputs, seed, repeat, threads))
    written = {name: path for name, path in (("trace", trace), ("costs", save_costs)) if path is not None}
    answer(result, written, as_json)


def answer(result: Profile, written: dict[str, Path], as_json: bool) -> None:
    """Say what was written, and show the profile."""
    from byoc.profile import profile_json, profile_text

    if as_json:
        print_json({"written": {name: str(path) for name, path in written.items()}, **profile_json(result)})
        return
    for name, path in written.items():
        click.echo(f"wrote {name} {path}")
    click.echo(profile_text(result))


def open_session(source: Path, request: PlanRequest, threads: int | None, verify_key: Path | None) -> Session:
    """A session on an artifact, or on a model that is compiled for it.  Raises as ``byoc compile`` does."""
    import byoc

    if source.suffix == ".byoc":
        request.require_none(source)
        return byoc.load(source, threads=threads, verify_key=verify_key)
    keywords = request.keywords()
    with progress_bars() as progress:
        plan = byoc.partition(
            request.language.source(source), keywords.pop("targets", ()), progress=progress, **keywords
        )
        return byoc.compile(plan, progress=progress).session(threads)


def shape_texts(request: PlanRequest) -> tuple[str, ...]:
    """``--shape`` as it was given, for the inputs of an artifact."""
    return tuple(
        f"{name}={','.join('?' if dim is None else str(dim) for dim in dims)}" for name, dims in request.shapes.items()
    )


def costs_text(
    source: Path, request: PlanRequest, inputs: tuple[str, ...], seed: int, repeat: int, threads: int | None
) -> str:
    """The file that ``--save-costs`` writes."""
    from byoc.cli.run import make_inputs
    from byoc.profile import measure_costs

    keywords = request.keywords()
    targets = keywords.pop("targets", None)
    if targets is None:
        raise UsageError("--save-costs and --plan exclude each other", todo="name the targets with --target")
    keep = ("shapes", "options")

    def given(function: EntryFunction) -> dict[str, Any]:
        return dict(make_inputs(function, inputs, (), seed))

    chosen = {name: keywords[name] for name in keep}
    return measure_costs(
        request.language.source(source), targets, given, runs=repeat, threads=threads, **chosen
    ).to_json()
