"""``byoc verify model.onnx --target a,b`` and ``byoc verify model.byoc --model model.onnx``."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from byoc.cli import exit_codes
from byoc.cli.compile import check_writable_folder
from byoc.cli.flags import Number, answer_flags, plugin_flag, verify_key_flag
from byoc.cli.output import print_json
from byoc.cli.planning import PlanRequest, planning_flags
from byoc.cli.progress import progress_bars
from byoc.errors import UsageError

if TYPE_CHECKING:
    from byoc.difference import Difference
    from byoc.partitioner.plan import Plan
    from byoc.verify import Culprit, Verification


@click.command("verify")
@click.argument("source", metavar="MODEL", type=click.Path(path_type=Path))
@plugin_flag
@planning_flags
@click.option(
    "--model", type=click.Path(path_type=Path), metavar="MODEL.ONNX", help="What an artifact was compiled from."
)
@click.option("--input", "inputs", multiple=True, metavar="X=A.NPY", help="An input; those not given are random.")
@click.option("--entry", metavar="NAME", help="Entry function, where there are several.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="For random inputs.")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Threads for the host and the partitions.")
@click.option(
    "--tolerance",
    type=Number(min=0.0),
    metavar="REL",
    help="Largest relative error that passes.  [default: by dtype, 1e-4 for float32]",
)
@click.option("--bisect", "wants_bisect", is_flag=True, help="Narrow a bad partition to the composite at fault.")
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write the worst partition with inputs, golden outputs and a script that runs it.",
)
@verify_key_flag
@answer_flags
@click.pass_context
def command(
    context: click.Context,
    source: Path,
    request: PlanRequest,
    model: Path | None,
    inputs: tuple[str, ...],
    entry: str | None,
    seed: int,
    threads: int | None,
    tolerance: float | None,
    wants_bisect: bool,
    bundle: Path | None,
    verify_key: Path | None,
    as_json: bool,
) -> None:
    """Hold every partition, and the whole, against the host.

    MODEL is an ONNX model, which is compiled with the flags given, or an artifact (.byoc) with the --model that it was
    compiled from.  Exit code 9 when a partition or an output is beyond tolerance.
    """
    from byoc.cli.run import find_entry, make_inputs
    from byoc.verify import bisect, verification_json, verification_text, verify, write_bundle
    from byoc.verify.sequence import sequence_inputs

    if bundle is not None:
        check_writable_folder(bundle)
    plan, artifact, origin = prepare(source, request, model, verify_key)
    with artifact.session(threads) as session:
        function = find_entry(session, entry)
        shapes = tuple(
            f"{name}={','.join('?' if d is None else str(d) for d in s)}" for name, s in request.shapes.items()
        )
        state = None
        if session.manifest.language_model is not None and not inputs:
            arrays, state = sequence_inputs(session, function.name, seed)
        else:
            arrays = make_inputs(function, inputs, shapes if source.suffix == ".byoc" else (), seed)
        result = verify(session, plan, arrays, entry=function.name, state=state)
    bad = [e for e in result.partitions if not e.passes(tolerance)]
    culprits: list[Culprit] = []
    if wants_bisect:
        for error in bad:
            culprits += bisect(
                plan, error.symbol, arrays, entry=function.name, tolerance=tolerance, threads=threads, state=state
            )
    compared = against_onnxruntime(origin, arrays, result, threads)
    if bundle is not None and result.partitions:
        worst = max(result.partitions, key=lambda e: (not e.passes(tolerance), e.worst.max_rel))
        write_bundle(bundle, plan, artifact, worst)
    if as_json:
        print_json(verification_json(result, culprits, compared, tolerance))
    else:
        click.echo(verification_text(result, culprits, compared, tolerance))
        if bundle is not None and result.partitions:
            click.echo(f"\nwrote partition {worst.symbol} to {bundle}")
    if bad or any(not d.max_rel <= d.tolerance(tolerance) for d in result.outputs):
        context.exit(exit_codes.DIFFERENT)


def prepare(source: Path, request: PlanRequest, model: Path | None, verify_key: Path | None) -> tuple[Plan, Any, Path]:
    """The plan as it was carried out with its model, the artifact, and the ONNX file."""
    import byoc
    from byoc.artifact import open_artifact
    from byoc.partitioner.plan import Plan
    from byoc.verify import carried_out

    if source.suffix == ".byoc":
        request.require_none(source)
        if model is None:
            raise UsageError(
                "an artifact is verified against its model", "it holds no copy of it", "add --model model.onnx"
            )
        opened = open_artifact(source, verify_key=verify_key)
        shapes = {spec.name: list(spec.shape) for e in opened.manifest.entry_functions for spec in e.inputs}
        plan = byoc.partition(model, plan=Plan.from_json(opened.plan_json), shapes=shapes)
        return plan, opened, model
    if model is not None:
        raise UsageError("--model is for artifacts", f"{source} is a model itself", "drop --model")
    keywords = request.keywords()
    with progress_bars() as progress:
        plan = byoc.partition(
            request.language.source(source), keywords.pop("targets", ()), progress=progress, **keywords
        )
        # Not from the cache: an artifact in it has no sources for --bundle.
        artifact = byoc.compile(plan, progress=progress, use_cache=False)
    return carried_out(plan, artifact), artifact, source


def against_onnxruntime(model: Path, arrays: Any, result: Verification, threads: int | None) -> list[Difference]:
    """The outputs against ONNX Runtime's, where it is installed.

    They inform and decide nothing: what both share, from the import to the host's code, is not the targets' fault.
    """
    if importlib.util.find_spec("onnxruntime") is None or model.is_dir():
        return []
    from byoc.cli.onnxruntime_check import onnxruntime_outputs
    from byoc.difference import difference
    from byoc.errors import ByocError

    try:
        wanted = onnxruntime_outputs(model, arrays, list(result.results), threads)
    except ByocError as error:
        click.echo(f"not compared with ONNX Runtime: {error.what}", err=True)
        return []
    return [difference(name, got, wanted[name]) for name, got in result.results.items()]
