"""Whole models: byoc beside ONNX Runtime and OpenVINO, each in a process of its own, in alternating rounds.

    python -m benchmarks.zoo                                        all models, batch 1, 2 threads
    python -m benchmarks.zoo --targets dnnl,csource,host --models resnet50,minilm --quick
    python -m benchmarks.zoo --targets dnnl,dnnl:precision=bf16 --batch 1,8 --threads 1,2
    python -m benchmarks.zoo --json zoo.json --picture zoo.png      keep the figures, draw the ratios
    python -m benchmarks.zoo --busy                                 in turns also beside a busy process (--busy pinned)
    python -m benchmarks.zoo --int8                                 8-bit models, the same file for all, beside float
    python -m benchmarks.zoo --prepare                              build and compile only, for measuring later
    python -m benchmarks.zoo --show zoo.json                        print the tables of an earlier run

It ends with exit code 1 where a target fails, or where a float32 model's results in float32 differ from ONNX Runtime's
by more than 1e-4 of the largest one; that takes ONNX Runtime among the rivals.

A target is codegens joined by ``+``, with options after ``:`` and a policy after ``@``: ``csource+dnnl@cost``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.zoo.busy import KINDS
from benchmarks.zoo.compile_artifact import ROOT, artifact_file
from benchmarks.zoo.models import MODELS, QUANTISED, SHARED, model_file
from benchmarks.zoo.quantised import float_name
from benchmarks.zoo.report import Report, describe_machine
from benchmarks.zoo.rounds import Effort, measure
from benchmarks.zoo.spec import FOREIGN, OF_FLOAT, Runner, parse


def main() -> int:
    arguments = _arguments()
    if arguments.show:
        report = Report.read(arguments.show)
        return _finish(report, arguments)
    try:
        targets = _listed(arguments.targets)
        floats = [f"{OF_FLOAT}{t}" for t in targets] if arguments.int8 else []
        runners = [parse(t) for t in (*_listed(arguments.rivals), *targets, *floats)]
    except ValueError as error:
        sys.exit(str(error))
    known = (*MODELS, *QUANTISED, *SHARED)
    arguments.models = arguments.models or list(QUANTISED if arguments.int8 else MODELS)
    unknown = sorted(set(arguments.models) - set(known))
    if unknown:
        sys.exit(f"no model is called {', '.join(unknown)}; there are {', '.join(known)}")
    if arguments.prepare:
        return _prepare(arguments, [r for r in runners if not r.foreign])
    effort = Effort(rounds=3, turn_ms=100.0) if arguments.quick else Effort(rounds=arguments.rounds)
    kept = Report.read(arguments.json).rows if arguments.add and arguments.json.exists() else ()
    report = Report(describe_machine(), kept)
    for threads in arguments.threads:
        for batch in arguments.batch:
            for model in arguments.models:
                rows = measure(arguments.folder, model, runners, batch, threads, effort, arguments.busy)
                report = report.with_rows(rows)
                print(report.line(rows), flush=True)
                if arguments.json:
                    report.write(arguments.json)
    return _finish(report, arguments)


def _finish(report: Report, arguments: argparse.Namespace) -> int:
    print(report.text())
    if arguments.picture:
        from benchmarks.zoo.picture import draw

        draw(report, arguments.picture)
    return int(bool(report.failures()))


def _prepare(arguments: argparse.Namespace, runners: list[Runner]) -> int:
    failed = False
    for batch in arguments.batch:
        for name in arguments.models:
            for runner in runners:
                chosen = float_name(name) if runner.of_float else name
                model = model_file(arguments.folder / "models", chosen, batch)
                try:
                    _, record = artifact_file(arguments.folder / "artifacts", runner, model)
                    print(f"{name} batch {batch} {runner.text}: {record['compile_s']:.1f} s; {record['summary']}")
                except RuntimeError as error:
                    failed = True
                    print(f"{name} batch {batch} {runner.text}: {error}")
                sys.stdout.flush()
    return int(failed)


def _listed(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _numbers(text: str) -> list[int]:
    return [int(part) for part in _listed(text)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.zoo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--targets", default="dnnl", help="what byoc runs: dnnl,csource,host,dnnl:precision=bf16")
    parser.add_argument("--rivals", default=",".join(FOREIGN), help='what to compare with; "" for nothing')
    parser.add_argument("--models", type=_listed, help="such as resnet50,minilm,resnet50.int8; all, if left out")
    parser.add_argument("--int8", action="store_true", help="the models in 8 bits, and each target on their originals")
    parser.add_argument("--batch", type=_numbers, default=[1], help="such as 1,8")
    parser.add_argument("--threads", type=_numbers, default=[2], help="such as 1,2")
    parser.add_argument("--rounds", type=int, default=Effort.rounds, help="turns of each runner")
    parser.add_argument("--quick", action="store_true", help="few short rounds: indicative figures only")
    parser.add_argument(
        "--busy",
        nargs="?",
        choices=KINDS,
        const=KINDS[0],
        default="",
        help="in turns with the rest, measure beside a process that keeps a core busy, free to move or pinned to one",
    )
    parser.add_argument("--prepare", action="store_true", help="build models and artifacts, measure nothing")
    parser.add_argument("--json", type=Path, help="write all figures here, after every model")
    parser.add_argument("--add", action="store_true", help="keep figures in --json that are not measured again")
    parser.add_argument("--show", type=Path, metavar="JSON", help="print and draw earlier figures, measure nothing")
    parser.add_argument("--picture", type=Path, help="draw the ratios (.png or .svg)")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "build" / "zoo", help="models and artifacts are kept here"
    )
    arguments = parser.parse_args()
    if arguments.add and not arguments.json:
        parser.error("--add needs --json")
    return arguments


if __name__ == "__main__":
    raise SystemExit(main())
