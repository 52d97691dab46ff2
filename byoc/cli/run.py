"""``byoc run m.byoc --input x=a.npy``."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from byoc.cli import exit_codes
from byoc.cli.flags import Number, answer_flags, verify_key_flag
from byoc.cli.output import print_json
from byoc.errors import InputError, UsageError, did_you_mean
from byoc.text_table import table

if TYPE_CHECKING:
    import numpy as np

    from byoc.artifact import EntryFunction
    from byoc.difference import Difference
    from byoc.runtime.session import Session


@click.command("run")
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--input", "inputs", multiple=True, metavar="X=A.NPY", help="An input; those not given are random.")
@click.option("--output", "outputs", multiple=True, metavar="Y=OUT.NPY", help="Save an output.")
@click.option("--shape", "shapes", multiple=True, metavar="X=1,128", help="Shape of a random input.  [default: 1]")
@click.option("--entry", metavar="NAME", help="Entry function, where the artifact has several.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="For random inputs.")
@click.option(
    "--repeat",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Run N times (after one more to warm up) and print times.",
)
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Threads for the host and the partitions.")
@click.option("--check-onnxruntime", "check", is_flag=True, help="Compare with ONNX Runtime on --model.")
@click.option("--model", type=click.Path(path_type=Path), metavar="MODEL.ONNX", help="For --check-onnxruntime.")
@click.option(
    "--tolerance",
    type=Number(min=0.0),
    metavar="REL",
    help="Largest relative error that passes.  [default: 1e-4; 1e-3 for 16-bit floats]",
)
@verify_key_flag
@answer_flags
@click.pass_context
def command(
    context: click.Context,
    artifact: Path,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    shapes: tuple[str, ...],
    entry: str | None,
    seed: int,
    repeat: int,
    threads: int | None,
    check: bool,
    model: Path | None,
    tolerance: float | None,
    verify_key: Path | None,
    as_json: bool,
) -> None:
    """Run an ARTIFACT, on files or on random inputs.

    With --check-onnxruntime the exit code is 9 when an output differs by more than --tolerance.  The relative error
    is the largest absolute one over the largest magnitude of the reference.
    """
    import byoc
    from byoc.cli.compile import check_writable
    from byoc.cli.run_inputs import parse_assignments

    if artifact.suffix == ".onnx":
        raise UsageError(f"{artifact} is a model, not an artifact", todo=f'compile it first: "byoc compile {artifact}"')
    if check and model is None:
        raise UsageError(
            "--check-onnxruntime needs the ONNX model", "an artifact holds no copy of it", "add --model model.onnx"
        )
    with byoc.load(artifact, threads=threads, verify_key=verify_key) as session:
        function = find_entry(session, entry)
        save_to = parse_assignments("--output", outputs, [spec.name for spec in function.outputs])
        for path in save_to.values():
            check_writable(path)
        arrays = make_inputs(function, inputs, shapes, seed)
        results = session.run(arrays, entry=function.name)
        times = [timed(session, arrays, function.name) for _ in range(repeat)] if repeat > 1 else []
        for name, path in save_to.items():
            save_array(path, results[name])
        differences = compare(model, arrays, results, threads) if check and model is not None else []
        wrong = [d for d in differences if not d.max_rel <= d.tolerance(tolerance)]
        if as_json:
            print_json(answer_json(results, times, differences, wrong))
        else:
            answer_text(results, times, differences, wrong, tolerance)
    if wrong:
        context.exit(exit_codes.DIFFERENT)


def find_entry(session: Session, name: str | None) -> EntryFunction:
    """The entry function of that name; without one the only one, else ``main``."""
    functions = {function.name: function for function in session.manifest.entry_functions}
    if name is None:
        name = next(iter(functions)) if len(functions) == 1 else "main"
    if name not in functions:
        raise InputError(f'the artifact has no entry function "{name}"', "", did_you_mean(name, functions))
    return functions[name]


def make_inputs(
    function: EntryFunction, assignments: tuple[str, ...], shapes: tuple[str, ...], seed: int
) -> dict[str, np.ndarray]:
    """Every input of the function: from its file, else random."""
    import numpy as np

    from byoc.cli.planning import parse_shapes
    from byoc.cli.run_inputs import concrete_shape, parse_assignments, random_input, read_array, symbol_values

    files = parse_assignments("--input", assignments, [spec.name for spec in function.inputs])
    arrays = {name: read_array(name, path) for name, path in files.items()}
    sizes = symbol_values(function.inputs, arrays, parse_shapes(shapes))
    generator = np.random.default_rng(seed)
    for spec in function.inputs:
        if spec.name not in arrays:
            arrays[spec.name] = random_input(spec, concrete_shape(spec, sizes), generator)
    return arrays


def timed(session: Session, arrays: Mapping[str, np.ndarray], entry: str) -> float:
    """Seconds that one run takes."""
    start = time.perf_counter()
    session.run(arrays, entry=entry)
    return time.perf_counter() - start


def save_array(path: Path, array: np.ndarray) -> None:
    """Write an ``.npy`` file, whole or not at all."""
    import numpy as np

    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            np.save(file, array, allow_pickle=False)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def compare(
    model: Path, arrays: Mapping[str, np.ndarray], results: Mapping[str, np.ndarray], threads: int | None
) -> list[Difference]:
    """The difference of each output from ONNX Runtime's."""
    from byoc.cli.onnxruntime_check import onnxruntime_outputs
    from byoc.difference import difference

    wanted = onnxruntime_outputs(model, arrays, list(results), threads)
    return [difference(name, result, wanted[name]) for name, result in results.items()]


def answer_text(
    results: Mapping[str, np.ndarray],
    times: list[float],
    differences: list[Difference],
    wrong: list[Difference],
    tolerance: float | None,
) -> None:
    """The outputs, the times, and the differences as tables."""
    rows = [(name, result.dtype, list(result.shape), preview(result)) for name, result in results.items()]
    click.echo(table(["output", "dtype", "shape", "first values"], rows))
    if times:
        click.echo(f"\n{len(times)} runs: median {median(times) * 1e3:.3f} ms, fastest {min(times) * 1e3:.3f} ms")
    if differences:
        verdicts = [
            (d.name, f"{d.max_abs:.3g}", f"{d.max_rel:.3g}", f"{d.tolerance(tolerance):g}", result_text(d, d in wrong))
            for d in differences
        ]
        headers = ["against ONNX Runtime", "max abs", "max rel", "tolerance", "result"]
        click.echo("\n" + table(headers, verdicts, "lrrr"))


def result_text(difference: Difference, wrong: bool) -> str:
    """``ok``, or ``DIFFERS`` with what is known about it."""
    told = f": {difference.note}" if difference.note else ""
    return f"DIFFERS{told}" if wrong else "ok"


def preview(array: np.ndarray, most: int = 4) -> str:
    """The first few values."""
    values = [f"{value:.4g}" if array.dtype.kind not in "biu" else str(value) for value in array.reshape(-1)[:most]]
    return ", ".join(values) + (", ..." if array.size > most else "")


def answer_json(
    results: Mapping[str, np.ndarray], times: list[float], differences: list[Difference], wrong: list[Difference]
) -> dict[str, Any]:
    """The same as JSON values; times in seconds."""
    outputs = [{"name": name, "dtype": str(r.dtype), "shape": list(r.shape)} for name, r in results.items()]
    document: dict[str, Any] = {"outputs": outputs}
    if times:
        document["seconds"] = {"runs": len(times), "median": median(times), "fastest": min(times)}
    if differences:
        document["onnxruntime"] = [{**asdict(d), "passed": d not in wrong} for d in differences]
    return document
