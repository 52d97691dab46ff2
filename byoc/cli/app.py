"""The group of verbs.  A new verb is one line in ``VERBS`` and one module with a ``command``."""

from __future__ import annotations

import importlib

import click

from byoc.cli import exit_codes
from byoc.errors import UsageError, did_you_mean

# The summaries stand here, not in the verbs' modules, so that `byoc --help` imports none of them.
VERBS: dict[str, tuple[str, str]] = {
    "compile": ("byoc.cli.compile", "Compile an ONNX model, or a language model, into one artifact."),
    "run": ("byoc.cli.run", "Run an artifact; compare it with ONNX Runtime."),
    "generate": ("byoc.cli.generate", "Generate text with a language model."),
    "bench-llm": ("byoc.cli.bench_llm", "Time language models, beside llama.cpp."),
    "explain": ("byoc.cli.explain", "Say which op goes where, and why not elsewhere."),
    "viz": ("byoc.cli.viz", "Draw a plan: a page to look around in, or a still picture."),
    "conformance": ("byoc.cli.conformance", "Examine a codegen with cases of every op and pattern."),
    "verify": ("byoc.cli.verify", "Hold every partition against the host."),
    "profile": ("byoc.cli.profile", "Say where the time of a run goes."),
    "new-codegen": ("byoc.cli.new_codegen", "Write a package to start a codegen from."),
    "quantize": ("byoc.cli.quantize", "Quantise a float ONNX model after training."),
    "pareto": ("byoc.cli.pareto", "Search how to keep a language model's cache and weights in how much memory."),
    "inspect": ("byoc.cli.inspect", "Show what an artifact holds, without loading its code."),
    "targets": ("byoc.cli.targets", "List the codegens that are installed, and their options."),
}


class VerbGroup(click.Group):
    """Verbs that are imported when called, and a near spelling for those that do not exist."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(VERBS[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS:
            raise UsageError(f'"{args[0]}" is not a verb of byoc', todo=did_you_mean(args[0], VERBS))
        ctx.obj.verb = args[0]
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, summary) for name, (_, summary) in VERBS.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write("\nExit codes:\n" + exit_codes.table() + "\n")


def print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Print the versions that a bug report needs, without importing TVM."""
    if not wanted or context.resilient_parsing:
        return
    import platform
    from importlib.metadata import version

    wheels = ", ".join(f"{name} {version(name)}" for name in ("apache-tvm", "apache-tvm-ffi"))
    click.echo(f"byoc {version('byoc')} ({wheels}, Python {platform.python_version()}, {platform.machine()})")
    context.exit()


@click.group(
    cls=VerbGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    help="Bring your own codegen: split an ONNX model between accelerators and a CPU host, and say why.",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=print_version, help="Show versions."
)
def app() -> None:
    """See ``VerbGroup``."""
