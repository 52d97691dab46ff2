"""``byoc conformance --target myaccel``."""

from __future__ import annotations

from pathlib import Path

import click

from byoc.cli import exit_codes
from byoc.cli.compile import check_writable, write_atomically
from byoc.cli.flags import Number, answer_flags, plugin_flag
from byoc.cli.output import print_json
from byoc.cli.planning import parse_options, parse_targets
from byoc.cli.progress import progress_bars
from byoc.errors import UsageError


@click.command("conformance")
@plugin_flag
@click.option("--target", "-t", "targets", multiple=True, metavar="A", help="The codegen to examine.")
@click.option("--option", "options", multiple=True, metavar="A.KEY=VAL", help="Option of the codegen (repeatable).")
@click.option("--filter", "wanted", default="", metavar="TEXT", help="Only cases whose names contain it.")
@click.option("--case", "named", multiple=True, metavar="NAME", help="Only the case of that name (repeatable).")
@click.option("--list", "only_list", is_flag=True, help="Print the names of the cases and run none.")
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Processes at a time.  [default: one a processor]"
)
@click.option(
    "--timeout",
    type=Number(min=0.1),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="What one step of a case may take before it counts as hanging.",
)
@click.option("--html", type=click.Path(path_type=Path), metavar="R.HTML", help="Write the report as a page.")
@click.option("--junit", type=click.Path(path_type=Path), metavar="R.XML", help="Write the report as JUnit XML.")
@answer_flags
@click.pass_context
def command(
    context: click.Context,
    targets: tuple[str, ...],
    options: tuple[str, ...],
    wanted: str,
    named: tuple[str, ...],
    only_list: bool,
    jobs: int | None,
    timeout: float,
    html: Path | None,
    junit: Path | None,
    as_json: bool,
) -> None:
    """Examine a codegen: every op and every pattern of its own, each case in a process of its own.

    Exit code 9 when a case fails, crashes or hangs, or when the codegen takes no case at all.
    """
    from byoc.conformance.html import report_html
    from byoc.conformance.junit import junit_xml
    from byoc.conformance.run import cases_for, conformance
    from byoc.conformance.text import report_text
    from byoc.partitioner.target import find_targets

    names = parse_targets(targets)
    if len(names) != 1:
        raise UsageError("conformance examines one target", f"{len(names)} are named", "give one with --target")
    for file in filter(None, (html, junit)):
        check_writable(file)
    chosen = parse_options(options)
    cases = cases_for(find_targets(names, chosen)[0], wanted, named)
    if only_list:
        listed = [case.name for case in cases]
        if as_json:
            print_json({"cases": listed})
        else:
            click.echo("\n".join(listed))
        return
    with progress_bars() as progress:
        report = conformance(
            names[0],
            options=chosen.get(names[0]),
            cases=cases if wanted or named else None,
            jobs=jobs,
            timeout=timeout,
            progress=progress,
        )
    if html is not None:
        write_atomically(html, report_html(report))
    if junit is not None:
        write_atomically(junit, junit_xml(report))
    if as_json:
        print_json(report.to_json())
    else:
        click.echo(report_text(report))
    if not report.conforms:
        context.exit(exit_codes.DIFFERENT)
