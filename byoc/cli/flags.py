"""Flags that every verb takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from byoc.cli.guard import Console

Function = TypeVar("Function", bound=Callable[..., Any])


class Number(click.FloatRange):
    """A float in a range, which excludes NaN."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is no number", param, ctx)
        return number


def _set_json(context: click.Context, _: click.Parameter, wanted: bool) -> bool:
    context.find_object(Console).json = wanted  # type: ignore[union-attr]
    return wanted


def _set_verbose(context: click.Context, _: click.Parameter, count: int) -> None:
    context.find_object(Console).verbose = count  # type: ignore[union-attr]
    if count:
        import logging

        level = logging.INFO if count == 1 else logging.DEBUG
        logging.basicConfig(level=level, format="%(name)s: %(message)s")


def answer_flags(function: Function) -> Function:
    """``--json`` (passed on as ``as_json``) and ``-v``."""
    function = click.option(
        "-v",
        "--verbose",
        count=True,
        expose_value=False,
        callback=_set_verbose,
        help="Say more on stderr; an error comes with its Python traceback.",
    )(function)
    return click.option(
        "--json", "as_json", is_flag=True, callback=_set_json, is_eager=True, help="Print one JSON document."
    )(function)


def verify_key_flag(function: Function) -> Function:
    """``--verify-key``, for verbs that open artifacts."""
    return click.option(
        "--verify-key",
        type=click.Path(path_type=Path),
        envvar="BYOC_VERIFY_KEY",
        metavar="PUBLIC.PEM",
        help="Refuse an artifact that the owner of this Ed25519 key has not signed.  [default: $BYOC_VERIFY_KEY]",
    )(function)


def plugin_flag(function: Function) -> Function:
    """``--plugin file.py``, loaded before anything else so that its codegens can be named by other flags."""

    def load(_: click.Context, __: click.Parameter, files: tuple[Path, ...]) -> tuple[Path, ...]:
        if files:
            import byoc

            for file in files:
                byoc.load_plugin(file)
        return files

    return click.option(
        "--plugin",
        "plugins",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="FILE.PY",
        callback=load,
        expose_value=False,
        help="Load a file that registers codegens (repeatable).",
    )(function)
