"""``byoc quantize model.onnx --calibrate batch.npz -o q.onnx``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from byoc.cli.compile import check_writable, write_atomically
from byoc.cli.flags import Number, answer_flags
from byoc.cli.output import print_json
from byoc.cli.progress import progress_bars
from byoc.errors import UsageError

if TYPE_CHECKING:
    from byoc.quant.report import Report


@click.command("quantize")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--calibrate",
    type=click.Path(path_type=Path),
    metavar="BATCH",
    help="An .npz file with an array for each input, or a folder of such files; one batch is enough.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where to write the model.  [default: MODEL's name with .int8.onnx, in this folder]",
)
@click.option(
    "--method",
    type=click.Choice(["mse", "klj", "minmax", "percentile"]),
    default="mse",
    show_default=True,
    help="How thresholds of activations are chosen.",
)
@click.option(
    "--per-channel/--per-tensor", default=True, show_default=True, help="One step for each output channel of a weight."
)
@click.option("--bits", type=click.Choice(["8", "16"]), default="8", show_default=True, help="Width of the integers.")
@click.option("--power-of-two", is_flag=True, help="Steps are powers of two, for hardware without multipliers.")
@click.option("--one-pass", is_flag=True, help="Read all thresholds off one float run: faster, a little less exact.")
@click.option(
    "--bias-correction/--no-bias-correction",
    default=None,
    help="Let biases take up what rounding shifts the means of channels by.  [default: with all methods but klj]",
)
@click.option(
    "--equalize/--no-equalize",
    default=None,
    help="Bring the channels that a depthwise convolution reads to one range.  [default: with minmax and klj]",
)
@click.option(
    "--multiplier-bits",
    type=click.IntRange(8, 31),
    default=31,
    show_default=True,
    metavar="N",
    help="Width of the integer multipliers in the parameter file.",
)
@click.option("--keep", multiple=True, metavar="WHAT", help="Leave NODE, op:TYPE or /regex/ in float (repeatable).")
@click.option(
    "--auto-keep",
    type=Number(0.0, 100.0),
    metavar="POINTS",
    help="Leave layers in float until int8 and float disagree on at most so many percent of the calibration data.",
)
@click.option("--dynamic", is_flag=True, help="Quantise matrix products only, their activations at run time.")
@click.option(
    "--report", type=click.Path(path_type=Path), metavar="FILE.HTML", help="Write a page on what each layer loses."
)
@answer_flags
def command(
    model: Path,
    calibrate: Path | None,
    output: Path | None,
    method: str,
    per_channel: bool,
    bits: str,
    power_of_two: bool,
    one_pass: bool,
    bias_correction: bool | None,
    equalize: bool | None,
    multiplier_bits: int,
    keep: tuple[str, ...],
    auto_keep: float | None,
    dynamic: bool,
    report: Path | None,
    as_json: bool,
) -> None:
    """Quantise a float ONNX MODEL to integers after training.

    Writes standard ONNX (QuantizeLinear and DequantizeLinear), and integer multipliers and shifts beside it in
    a .quant.json file.
    """
    import byoc

    destination = output or Path(f"{model.stem}.int{bits}.onnx")
    for file in filter(None, (destination, report)):
        check_writable(file)
    if dynamic:
        _write_dynamic(model, destination, keep, calibrate, as_json)
        return
    if calibrate is None:
        raise UsageError(
            "no calibration data is given",
            "ranges of activations are read off real inputs",
            "--calibrate batch.npz names a file made with numpy.savez; --dynamic needs none",
        )
    with progress_bars() as progress:
        quantised = byoc.quantize(
            model, calibrate, method=method, per_channel=per_channel, bits=int(bits), power_of_two=power_of_two,
            progressive=not one_pass, bias_correction=bias_correction, equalize=equalize,
            multiplier_bits=multiplier_bits, keep=keep, auto_keep=auto_keep, progress=progress,
        )  # fmt: skip
        found = quantised.report(measure=report is not None, progress=progress)
    quantised.save(destination)
    if report is not None:
        write_atomically(report, found.html())
    _answer(found, destination, report, as_json)


def _answer(found: Report, destination: Path, report: Path | None, as_json: bool) -> None:
    from byoc.quant.result import parameter_file

    written = {"model": destination, "parameters": parameter_file(destination), "report": report}
    if as_json:
        print_json({"written": {k: str(v) if v else None for k, v in written.items()}, **found.as_dict()})
        return
    for name, path in written.items():
        if path is not None:
            click.echo(f"wrote {name} {path}")
    click.echo(found.text())


def _write_dynamic(
    model: Path, destination: Path, keep: tuple[str, ...], calibrate: Path | None, as_json: bool
) -> None:
    from byoc.quant import quantize_dynamic

    if calibrate is not None:
        raise UsageError("--dynamic takes no calibration data", "activations are quantised at run time", "drop one")
    quantised = quantize_dynamic(model, keep=keep)
    quantised.save(destination)
    if as_json:
        print_json({"written": {"model": str(destination)}, "products": quantised.products})
    else:
        click.echo(f"wrote model {destination}\n{len(quantised.products)} matrix products take 8-bit integers")
