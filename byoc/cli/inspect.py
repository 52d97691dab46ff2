"""``byoc inspect m.byoc``: the manifest, nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from byoc.cli.flags import answer_flags, verify_key_flag
from byoc.cli.output import print_json
from byoc.text_table import bytes_text, table

if TYPE_CHECKING:
    from byoc.artifact import EntryFunction, Manifest


@click.command("inspect")
@click.argument("artifact", type=click.Path(path_type=Path))
@verify_key_flag
@answer_flags
def command(artifact: Path, verify_key: Path | None, as_json: bool) -> None:
    """Show what an ARTIFACT holds, without loading its code.

    Says whether it can run on this machine and, if not, why.
    """
    from dataclasses import asdict

    from byoc.artifact import check_compatible, is_signed, read_manifest

    manifest = read_manifest(artifact, verify_key=verify_key)
    signed = is_signed(artifact)
    obstacles = check_compatible(manifest)
    if as_json:
        print_json({"runs_here": not obstacles, "obstacles": obstacles, "signed": signed, "manifest": asdict(manifest)})
        return
    click.echo(manifest_text(manifest))
    click.echo("\nsigned: " + signature_text(signed, verify_key))
    click.echo("runs here: " + ("yes" if not obstacles else "no"))
    for obstacle in obstacles:
        click.echo(f"  {obstacle}")


def signature_text(signed: bool, verify_key: Path | None) -> str:
    """Whether the artifact is signed, and by whom as far as that is known."""
    if not signed:
        return "no"
    return f"by the owner of {verify_key}" if verify_key else "yes, by whom is not checked (--verify-key)"


def manifest_text(manifest: Manifest) -> str:
    """What the manifest says, as text."""
    sections = [
        _made_with(manifest),
        _language_model(manifest),
        *(_entry(function) for function in manifest.entry_functions),
        _partitions(manifest),
        table(["member", "size", "sha256"], [(m.path, bytes_text(m.size), m.sha256) for m in manifest.members], "lr"),
    ]
    return "\n\n".join(section for section in sections if section)


def _made_with(manifest: Manifest) -> str:
    features = f" with {', '.join(manifest.cpu_features)}" if manifest.cpu_features else ""
    weights = sum(weight.nbytes for weight in manifest.weights)
    lines = [
        f"format {manifest.format_version}, byoc {manifest.byoc_version}, tvm {manifest.tvm_version}, "
        f"tvm-ffi {manifest.tvm_ffi_version}, build {manifest.build_id}",
        f"for {manifest.architecture} {manifest.cpu}{features}",
        f"{len(manifest.weights)} weights, {bytes_text(weights)}",
    ]
    for codegen in manifest.codegens:
        needs = f", requires {', '.join(codegen.requires)}" if codegen.requires else ""
        lines.append(f"codegen {codegen.name} {codegen.version}{needs}")
    return "\n".join(lines)


def _language_model(manifest: Manifest) -> str:
    facts = manifest.language_model
    if facts is None:
        return ""
    from math import prod

    caches = sum(prod(int(d) for d in state.shape) for state in manifest.states)
    tokenizer = "with" if any(m.path == "tokenizer.json" for m in manifest.members) else "without"
    text = facts.get("calibration")
    calibrated = f", calibrated on {text['tokens']} tokens" if text else ""
    return (
        f"language model {facts['architecture']}, {facts['layers']} layers, {facts['vocabulary']} tokens, "
        f"{tokenizer} a tokenizer\n"
        f"context {facts['context']}, chunk {facts['chunk']}, batch {facts['batch']}, weights {facts['weights']}"
        f"{calibrated}\n"
        f"caches {facts['kv']}, {bytes_text(caches)}"
    )


def _entry(function: EntryFunction) -> str:
    lines = [f"entry function {function.name}"]
    lines += [f"  in   {spec}" for spec in function.inputs]
    lines += [f"  out  {spec}" for spec in function.outputs]
    return "\n".join(lines)


def _partitions(manifest: Manifest) -> str:
    rows = [(p.symbol, p.target, len(p.constants)) for p in manifest.partitions]
    return table(["partition", "target", "constants"], rows, "llr") if rows else ""
