"""``byoc new-codegen myaccel``."""

from __future__ import annotations

from pathlib import Path

import click

from byoc.cli.flags import answer_flags
from byoc.cli.output import print_json


@click.command("new-codegen")
@click.argument("name")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder to make.  [default: NAME, in this folder]",
)
@answer_flags
def command(name: str, output: Path | None, as_json: bool) -> None:
    """Write a package for a codegen called NAME: patterns, emit, a C++ runtime module, tests, CI.

    It conforms from the start; its README says what to replace.
    """
    from byoc.scaffold import new_codegen

    folder = output or Path(name)
    written = new_codegen(name, folder)
    if as_json:
        print_json({"folder": str(folder), "files": list(written)})
        return
    for file in written:
        click.echo(f"wrote {folder / file}")
    click.echo(f"\nnext: pip install ./{folder} && byoc conformance --target {name}")
