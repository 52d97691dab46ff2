"""``byoc explain model.onnx [NODE] --target a,b``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from byoc.cli.flags import answer_flags, plugin_flag
from byoc.cli.output import print_json
from byoc.cli.planning import PlanRequest, planning_flags, read_plan
from byoc.cli.progress import progress_bars
from byoc.errors import UsageError

if TYPE_CHECKING:
    from byoc.partitioner.plan import Plan


@click.command("explain")
@click.argument("source", metavar="MODEL", type=click.Path(path_type=Path))
@click.argument("node", required=False)
@plugin_flag
@planning_flags
@answer_flags
def command(source: Path, node: str | None, request: PlanRequest, as_json: bool) -> None:
    """Say which op goes where, and why not elsewhere.

    MODEL is an ONNX model (planned with the flags given), a saved plan (.json), or an artifact (.byoc).
    With the name of an ONNX NODE, tell everything about that one.
    """
    from byoc import explain

    plan = find_plan(source, request)
    if as_json and node is None:
        print_json(explain.explain_json(plan))
    elif as_json:
        print_json(explain.explain_node_json(plan, str(node)))
    elif node is None:
        click.echo(explain.explain_text(plan))
    else:
        click.echo(explain.explain_node_text(plan, node))


def find_plan(source: Path, request: PlanRequest) -> Plan:
    """The plan in a plan file or an artifact, or a new one for a model."""
    if source.suffix not in (".json", ".byoc"):
        import byoc

        keywords = request.keywords()
        with progress_bars() as progress:
            return byoc.partition(source, keywords.pop("targets", ()), progress=progress, **keywords)
    if request.targets or request.pins or request.plan_file:
        raise UsageError(
            f"{source} already has a plan; --target, --pin and --plan do not apply",
            todo="drop them, or give the ONNX model",
        )
    if source.suffix == ".json":
        return read_plan(source)
    from byoc.artifact import open_artifact
    from byoc.partitioner.plan import Plan

    return Plan.from_json(open_artifact(source).plan_json)
