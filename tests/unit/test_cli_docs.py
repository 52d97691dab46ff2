"""The documents say what the program does."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import click
import pytest

from byoc.cli import app, exit_codes
from byoc.partitioner.plan import STAGES

REPOSITORY = Path(__file__).resolve().parents[2]


def text_of(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("verb", app.VERBS)
def test_every_flag_of_a_verb_is_documented(verb: str) -> None:
    command: click.Command = importlib.import_module(app.VERBS[verb][0]).command
    page = text_of("docs/cli.md")
    flags = {flag for parameter in command.params if isinstance(parameter, click.Option) for flag in parameter.opts}
    assert f"## byoc {verb}" in page
    assert [flag for flag in sorted(flags) if f"`{flag}" not in page] == []


def test_every_documented_flag_exists() -> None:
    commands = [importlib.import_module(module).command for module, _ in app.VERBS.values()]
    flags = {flag for command in commands for parameter in command.params for flag in parameter.opts}
    assert set(re.findall(r"`(--[a-z-]+)", text_of("docs/cli.md"))) <= flags


def test_every_exit_code_is_documented() -> None:
    page = text_of("docs/cli.md")
    assert [code for code, meaning in exit_codes.MEANINGS.items() if f"| {code} | {meaning} |" not in page] == []


def test_every_stage_is_documented() -> None:
    page = text_of("docs/why-is-my-op-on-the-host.md")
    assert [stage for stage in STAGES if f"| `{stage}` |" not in page] == []


def test_the_codegen_in_the_readme_is_the_one_in_the_example() -> None:
    example = text_of("examples/myaccel/myaccel/__init__.py")
    assert example[example.index("from byoc") :] in text_of("README.md")


def test_every_link_to_a_file_leads_somewhere() -> None:
    broken = []
    for page in [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *(REPOSITORY / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not (page.parent / link).exists():
                broken.append(f"{page.name}: {link}")
    assert broken == []


def test_every_public_name_is_in_the_reference() -> None:
    import byoc

    page = text_of("docs/api.md") + text_of("byoc/errors.py")
    missing = [n for n in byoc.__all__ if f":: byoc.{n}\n" not in page and f"class {n}(" not in page]
    assert missing == []
