"""``byoc viz model.onnx --target a,b -o plan.html``."""

from __future__ import annotations

from pathlib import Path

import click

from byoc.cli.compile import check_writable, model_name, write_atomically
from byoc.cli.explain import find_plan
from byoc.cli.flags import answer_flags, plugin_flag
from byoc.cli.output import print_json
from byoc.cli.planning import PlanRequest, planning_flags
from byoc.errors import UsageError


@click.command("viz")
@click.argument("source", metavar="MODEL", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where to write: .html to look around in, .svg for a still picture.  [default: MODEL's name with .html]",
)
@click.option("--time", "times", type=click.Path(path_type=Path), metavar="P.JSON", help='From "byoc profile --json".')
@click.option("--error", "errors", type=click.Path(path_type=Path), metavar="V.JSON", help='From "byoc verify --json".')
@click.option("--expand", is_flag=True, help="Show the ops inside partitions of a still picture.")
@plugin_flag
@planning_flags
@answer_flags
def command(
    source: Path,
    output: Path | None,
    times: Path | None,
    errors: Path | None,
    expand: bool,
    request: PlanRequest,
    as_json: bool,
) -> None:
    """Draw a plan as one HTML file, or as SVG.

    MODEL is an ONNX model or the folder of a language model (planned with the flags given), a saved plan (.json), or an
    artifact (.byoc).
    """
    from byoc.viz import plan_page, plan_svg, read_overlay

    destination = output or Path(f"{model_name(source)}.html")
    if destination.suffix not in (".html", ".svg"):
        raise UsageError(f"cannot write {destination}", "a picture is .html or .svg", "-o plan.html or -o plan.svg")
    if destination.suffix == ".svg" and (times or errors):
        raise UsageError("--time and --error are shown in a page only", todo="-o plan.html")
    if destination.suffix == ".html" and expand:
        raise UsageError("--expand is for still pictures; the page has a button for it", todo="-o plan.svg")
    check_writable(destination)
    measured = {"seconds": times, "error": errors}
    overlays = [read_overlay(path, quantity) for quantity, path in measured.items() if path is not None]
    plan = find_plan(source, request)
    text = plan_svg(plan, expanded=expand) if destination.suffix == ".svg" else plan_page(plan, overlays)
    write_atomically(destination, text)
    if as_json:
        print_json({"written": {"picture": str(destination)}, "summary": plan.summary()})
    else:
        click.echo(f"wrote picture {destination}")
        click.echo(plan.summary())
