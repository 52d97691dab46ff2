"""``byoc explain model.onnx [NODE] --target a,b``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from byoc.cli.flags import answer_flags, plugin_flag
from byoc.cli.output import print_json
from byoc.cli.planning import PlanRequest, planning_flags, read_costs, read_plan
from byoc.cli.progress import progress_bars
from byoc.errors import UsageError

if TYPE_CHECKING:
    from byoc.partitioner.plan import Plan
    from byoc.suggest import Suggestion


@click.command("explain")
@click.argument("source", metavar="[MODEL]", required=False, type=click.Path(path_type=Path))
@click.argument("node", required=False)
@click.option(
    "--diff",
    "compared",
    nargs=2,
    type=click.Path(path_type=Path),
    metavar="A.JSON B.JSON",
    help="Say what differs between two plans (or artifacts, or models planned with the flags given).",
)
@plugin_flag
@planning_flags
@answer_flags
def command(
    source: Path | None, node: str | None, compared: tuple[Path, Path] | None, request: PlanRequest, as_json: bool
) -> None:
    """Say which op goes where, and why not elsewhere.

    MODEL is an ONNX model or the folder of a language model (planned with the flags given), a saved plan (.json), or an
    artifact (.byoc).
    With the name of an ONNX NODE, tell everything about that one.
    """
    if compared is not None:
        if source is not None:
            raise UsageError("--diff compares its own two files; it takes no other MODEL", todo=f"leave out {source}")
        answer_difference(*compared, request, as_json)
    elif source is None:
        raise UsageError("no MODEL is given", todo="byoc explain model.onnx --target a,b; or --diff a.json b.json")
    elif node is not None:
        answer_node(find_plan(source, request), node, as_json)
    else:
        answer_plan(source, request, as_json)


def answer_plan(source: Path, request: PlanRequest, as_json: bool) -> None:
    """Explain the whole plan, with a suggestion where there is a model to plan anew."""
    from byoc import explain

    plan = find_plan(source, request)
    suggestion = None
    if plan.model is not None and request.plan_file is None:
        suggestion = find_suggestion(plan, source, request)
    if as_json:
        print_json(explain.explain_json(plan, suggestion))
    else:
        click.echo(explain.explain_text(plan, suggestion))


def find_suggestion(plan: Plan, source: Path, request: PlanRequest) -> Suggestion | None:
    """A suggestion whose flags can be given to the same verb."""
    from byoc.suggest import suggest

    costs = None if request.costs_file is None else read_costs(request.costs_file)
    suggestion = suggest(plan, request.language.source(source), shapes=request.shapes, costs=costs)
    more = (*request.language.given(), *(() if costs is None else ("--costs", str(request.costs_file))))
    return suggestion and replace(suggestion, flags=(*suggestion.flags, *more))


def answer_node(plan: Plan, node: str, as_json: bool) -> None:
    """Explain one node."""
    from byoc import explain

    if as_json:
        print_json(explain.explain_node_json(plan, node))
    else:
        click.echo(explain.explain_node_text(plan, node))


def answer_difference(before: Path, after: Path, request: PlanRequest, as_json: bool) -> None:
    """Compare two plans."""
    from byoc import explain

    plans = find_plan(before, request), find_plan(after, request)
    if as_json:
        print_json(explain.difference_json(*plans))
    else:
        click.echo(explain.difference_text(*plans))


def find_plan(source: Path, request: PlanRequest) -> Plan:
    """The plan in a plan file or an artifact, or a new one for a model."""
    if source.suffix not in (".json", ".byoc"):
        import byoc

        keywords = request.keywords()
        with progress_bars() as progress:
            model = request.language.source(source)
            return byoc.partition(model, keywords.pop("targets", ()), progress=progress, **keywords)
    request.require_none(source)
    if source.suffix == ".json":
        return read_plan(source)
    from byoc.artifact import open_artifact
    from byoc.partitioner.plan import Plan

    return Plan.from_json(open_artifact(source).plan_json)
