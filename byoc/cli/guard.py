"""The one place where exceptions become texts and exit codes."""

from __future__ import annotations

import errno
import traceback
import warnings
from dataclasses import dataclass

import click

from byoc.cli import exit_codes
from byoc.errors import ByocError, UsageError, did_you_mean


@dataclass
class Console:
    """How this call wants to be answered; verbs' flags fill it in."""

    verb: str = ""
    verbose: int = 0
    json: bool = False


class InternalError(ByocError):
    """An exception that byoc did not foresee."""

    code, exit_code = "BYOC-999", exit_codes.INTERNAL


def guarded(arguments: list[str]) -> int:
    """Run the verb; every exception ends as a text on stderr and an exit code."""
    console = Console()
    try:
        from byoc.cli.app import app

        with warnings.catch_warnings():
            warnings.showwarning = show_warning
            return app.main(args=arguments, prog_name="byoc", standalone_mode=False, obj=console) or exit_codes.OK
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return exit_codes.INTERRUPTED
    except SystemExit as leaving:
        # Click leaves so, with 1, when nobody reads stdout any more; and after it has completed a word for the shell.
        return exit_codes.BROKEN_PIPE if leaving.code == 1 else exit_codes.OK
    except Exception as error:
        return report(as_byoc_error(error, console), console)


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: object = None,
) -> None:
    """A warning as one line on stderr, without the place in the code that it came from."""
    click.echo(f"warning: {message}", err=True)


def report(error: ByocError, console: Console) -> int:
    """Say the error on stderr (as JSON on stdout too, if JSON was asked for) and return its exit code."""
    if console.verbose:
        traceback.print_exception(error.__cause__ or error)
    click.echo(str(error), err=True)
    if console.json:
        from byoc.cli.output import print_json

        described = {"code": error.code, "what": error.what, "why": error.why, "do": error.todo}
        print_json({"error": described, "exit_code": error.exit_code})
    return error.exit_code


def as_byoc_error(error: Exception, console: Console) -> ByocError:
    """The error in byoc's three lines, whatever raised it."""
    if isinstance(error, ByocError):
        return error
    if isinstance(error, click.ClickException):
        return usage_error(error)
    told: ByocError
    if isinstance(error, OSError) and error.filename is not None:
        told = ByocError(f"{error.filename}: {error.strerror}", todo="check the path, its rights, and space")
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        told = ByocError(f"a file cannot be written: {error.strerror}", todo="make room on the disk")
    elif isinstance(error, MemoryError):
        told = ByocError("this machine has too little memory for it", str(error), "free some, or use a smaller model")
    else:
        told = internal_error(error, console)
    told.__cause__ = error
    return told


def internal_error(error: Exception, console: Console) -> InternalError:
    first_line = next(iter(str(error).strip().splitlines()), "no message")
    where = f' in "byoc {console.verb}"' if console.verb else ""
    again = "" if console.verbose else "run it again with -v for the traceback, and "
    return InternalError(
        f"internal error{where}",
        f"{type(error).__name__}: {first_line}; this is a fault of byoc, not of your input",
        f'{again}report the traceback with the command, the output of "byoc --version" and, if you may, the model',
    )


def usage_error(error: click.ClickException) -> UsageError:
    """Click's complaint in byoc's form, with the nearest spelling."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "byoc"
    see = f'"{path} --help" shows how to call it'
    if isinstance(error, click.NoSuchOption):
        known = [name for p in context.command.params for name in p.opts if name.startswith("--")] if context else []
        near = did_you_mean(error.option_name, known)
        told = UsageError(f'"{path}" has no option {error.option_name}', todo=near if "did you" in near else see)
    else:
        told = UsageError(error.format_message().rstrip("."), todo=see)
    told.__cause__ = error
    return told
