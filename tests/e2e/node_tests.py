"""The tests of the ``onnx`` package, in ONNX Runtime and in byoc.

    python -m tests.e2e.node_tests [--only REGEX] [--kind node] [--targets csource] [--jobs 2] [--json FILE] [--again]

Each test has a time limit and runs in one of a few worker processes; a worker that dies or hangs is replaced.  Many
tests give a shape, axes or a scale as an input of the graph; byoc, which compiles, may ask for these at import.  It is
then given them as constants, as real models have them, and the row says so.
"""

from __future__ import annotations

import argparse
import collections
import json
import multiprocessing
import os
import signal
import time
import warnings
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import onnx

import byoc
import byoc.onnx_backend as backend
from byoc.errors import ModelError, UsageError
from tests.e2e.node_cases import KINDS, Case, cases, difference, plain, with_constants

SECONDS = 180  # of a loaded machine
PASSES, CONSTANTS, REFUSED, WRONG, CRASHES, HANGS, FAILS = (
    "passes", "passes, inputs constant", "refused", "WRONG", "CRASHES", "HANGS", "FAILS",
)  # fmt: skip
GOOD = (PASSES, CONSTANTS)
Row = dict[str, Any]


def examine(case: Case, targets: Sequence[str], runtime: bool) -> Row:
    """One row: what byoc makes of the test, beside whether ONNX Runtime passes it."""
    operators = sorted({f"{n.domain}:{n.op_type}".lstrip(":") for n in case.model.graph.node})
    row: Row = {"name": case.name, "operators": operators, "onnxruntime": runtime}
    try:
        row["byoc"], row["detail"] = _in_byoc(case, targets)
    except byoc.ByocError as error:
        row["byoc"] = REFUSED if isinstance(error, (ModelError, UsageError)) else FAILS
        row["detail"] = f"[{error.code}] {error.what}: {error.why}"
    except Exception as error:
        row["byoc"], row["detail"] = FAILS, f"{type(error).__name__}: {error}".replace("\n", " ")[-300:]
    return row


def _in_onnxruntime(case: Case) -> bool:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    try:
        content = case.model.SerializeToString()
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        for inputs, expected in case.data_sets:
            names = [value.name for value in session.get_inputs()]
            got = session.run(None, dict(zip(names, map(plain, inputs), strict=False)))
            if difference(case, got, expected):
                return False
    except Exception:
        return False
    return True


def _in_byoc(case: Case, targets: Sequence[str]) -> tuple[str, str]:
    try:
        wrong = _run_in_byoc(case, case.model, range(len(case.model.graph.input)), targets)
        return (WRONG, wrong) if wrong else (PASSES, "")
    except ModelError as error:
        fixed = with_constants(case)
        if fixed is None:
            raise
        wrong = _run_in_byoc(case, *fixed, targets)
        return (WRONG, wrong) if wrong else (CONSTANTS, str(error.why)[:120])


def _run_in_byoc(case: Case, model: onnx.ModelProto, used: Container[int], targets: Sequence[str]) -> str:
    """How the results differ; ``used``: the inputs that ``model`` has."""
    prepared = backend.prepare(model, targets=targets, use_cache=False)
    for inputs, expected in case.data_sets:
        arrays = [plain(x) for i, x in enumerate(inputs) if i in used]
        text = difference(case, prepared.run(arrays), expected)
        if text:
            return text
    return ""


@dataclass
class Worker:
    """A process that examines the tests whose places it is sent; ``case`` is the one it is at, if any."""

    pipe: Connection
    process: Any
    case: Case | None = None
    deadline: float = 0.0
    runtime: bool = False  # whether ONNX Runtime passes the case, once that is known

    def give(self, place: int, case: Case) -> None:
        self.pipe.send(place)
        self.case, self.deadline = case, time.monotonic() + SECONDS

    def lost(self) -> Row:
        """The row of the test that killed the process, or that it hung in; the process is gone afterwards."""
        hangs = self.deadline <= time.monotonic()
        if hangs:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.join()
        detail = f"no result in {SECONDS} s" if hangs else f"exit code {self.process.exitcode}"
        assert self.case is not None
        row = {"name": self.case.name, "operators": [], "onnxruntime": self.runtime}
        return {**row, "byoc": HANGS if hangs else CRASHES, "detail": detail}


def run(
    chosen: Sequence[Case], targets: Sequence[str], jobs: int, runtime: Mapping[str, bool] | None = None
) -> Iterator[Row]:
    """The rows, as the tests end; a crash or a hang becomes a row too.

    ``runtime``: what is known of ONNX Runtime from earlier rows, by name of the test.
    """
    known = [(runtime or {}).get(case.name) for case in chosen]
    waiting = list(reversed(range(len(chosen))))
    workers = [_start(chosen, targets, known) for _ in range(min(jobs, len(chosen)))]
    busy = []
    for worker in workers:
        place = waiting.pop()
        worker.give(place, chosen[place])
        busy.append(worker)
    while busy:
        nearest = min(worker.deadline for worker in busy)
        ready = wait([worker.pipe for worker in busy], timeout=max(0.0, nearest - time.monotonic()))
        late = [worker for worker in busy if worker.deadline <= time.monotonic()]
        for worker in [w for w in busy if w.pipe in ready or w in late]:
            busy.remove(worker)
            try:
                row = worker.pipe.recv() if worker.pipe in ready else None
            except (EOFError, ConnectionResetError):
                row = None
            if isinstance(row, bool):
                worker.runtime = row
                busy.append(worker)
                continue
            if row is None:
                row = worker.lost()
                worker = _start(chosen, targets, known) if waiting else worker
            yield row
            if waiting:
                place = waiting.pop()
                worker.give(place, chosen[place])
                busy.append(worker)
            else:
                worker.pipe.close()
    for worker in workers:
        worker.process.join()


def _start(chosen: Sequence[Case], targets: Sequence[str], known: Sequence[bool | None]) -> Worker:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(chosen, targets, known, theirs, ours))
    process.start()
    theirs.close()
    return Worker(ours, process)


def _work(
    chosen: Sequence[Case], targets: Sequence[str], known: Sequence[bool | None], pipe: Connection, parent: Connection
) -> None:
    parent.close()
    os.setsid()  # compilers that it starts are killed with it
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    warnings.simplefilter("ignore")
    while True:
        try:
            place = pipe.recv()
        except EOFError:
            os._exit(0)
        runtime = known[place]
        if runtime is None:
            runtime = _in_onnxruntime(chosen[place])
        pipe.send(runtime)
        pipe.send(examine(chosen[place], targets, runtime))


def table(rows: Sequence[Row]) -> str:
    """Counts, and of the tests that ONNX Runtime passes the share that byoc does."""
    both = [row for row in rows if row.get("onnxruntime")]
    counts = collections.Counter(row["byoc"] for row in rows)
    among = collections.Counter(row["byoc"] for row in both)
    lines = [f"{len(rows)} tests, ONNX Runtime passes {len(both)}"]
    for status in (PASSES, CONSTANTS, REFUSED, FAILS, WRONG, CRASHES, HANGS):
        lines.append(f"{status:28} {counts[status]:5}   of those that ONNX Runtime passes {among[status]:5}")
    passed = sum(among[status] for status in GOOD)
    lines.append(f"{passed / max(1, len(both)):.1%} of what ONNX Runtime passes")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="only names that match this regular expression")
    parser.add_argument("--kind", default="node", help=f"kinds of tests, separated by commas: {', '.join(KINDS)}")
    parser.add_argument("--targets", default="", help="codegens, separated by commas; none: the host alone")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path, help="rows of earlier runs there are kept unless they are run again")
    parser.add_argument("--again", action="store_true", help="leave out what passes in the rows of earlier runs")
    parser.add_argument("--missing", action="store_true", help="leave out what earlier runs ran")
    arguments = parser.parse_args()
    known = {}
    if arguments.json and arguments.json.exists():
        known = {row["name"]: row for row in json.loads(arguments.json.read_text())}
    chosen = cases(arguments.only, arguments.kind.split(","))
    if arguments.again:
        chosen = [case for case in chosen if known.get(case.name, {}).get("byoc") not in GOOD]
    if arguments.missing:
        chosen = [case for case in chosen if case.name not in known]
    runtime = {name: row["onnxruntime"] for name, row in known.items() if "onnxruntime" in row}
    fresh = []
    for row in run(chosen, [t for t in arguments.targets.split(",") if t], arguments.jobs, runtime):
        fresh.append(row)
        known[row["name"]] = row
        if row["byoc"] not in GOOD and (row["onnxruntime"] or row["byoc"] != REFUSED):
            print(f"{row['byoc']:10} {row['name']:60} {row['detail']}", flush=True)
        if arguments.json and len(fresh) % 50 == 0:
            _write(arguments.json, known)
    if arguments.json:
        _write(arguments.json, known)
    print(table(list(known.values()) if arguments.json else fresh))


def _write(file: Path, known: Mapping[str, Row]) -> None:
    fresh = file.with_suffix(".part")
    fresh.write_text(json.dumps(list(known.values()), indent=1))
    fresh.replace(file)


if __name__ == "__main__":
    main()
