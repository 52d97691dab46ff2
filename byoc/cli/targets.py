"""``byoc targets``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from byoc.cli.flags import answer_flags, plugin_flag
from byoc.cli.output import print_json
from byoc.text_table import table

if TYPE_CHECKING:
    from byoc.registry import TargetInfo


@click.command("targets")
@plugin_flag
@answer_flags
def command(as_json: bool) -> None:
    """List the codegens that are installed, and their options."""
    from byoc import list_targets

    targets = list_targets()
    if as_json:
        print_json({"targets": [target_json(target) for target in targets]})
        return
    rows = [(t.name, t.version, "yes" if t.available else "no", t.reason or t.description) for t in targets]
    click.echo(table(["target", "version", "available", "description"], rows))
    options = [option_row(target.name, name, option) for target in targets for name, option in target.options]
    if options:
        click.echo("\n" + table(["option", "type", "default", "help"], options))


def option_row(target: str, name: str, option: Any) -> tuple[str, str, str, str]:
    """The full name, type, default and help of an option."""
    choices = f" ({' | '.join(map(str, option.choices))})" if option.choices else ""
    return f"{target}.{name}", type(option.default).__name__, str(option.default), option.help + choices


def target_json(target: TargetInfo) -> dict[str, Any]:
    """One target as JSON values."""
    options = {
        name: {
            "type": type(option.default).__name__,
            "default": option.default,
            "help": option.help,
            "choices": list(option.choices),
        }
        for name, option in target.options
    }
    return {
        "name": target.name,
        "version": target.version,
        "description": target.description,
        "available": target.available,
        "reason": target.reason,
        "options": options,
    }
