"""The process that holds one runner with one model: reads requests from stdin, answers on a pipe, one JSON each line.

    python -m benchmarks.zoo.worker RUNNER FILE INPUTS.npz THREADS ANSWERS_FD

``FILE`` is an ONNX file, or an artifact for a runner of byoc.  Requests: ``{"do": "time", "warm": 1, "runs": 5}``,
``{"do": "memory", "runs": 20}``, ``{"do": "outputs", "path": "y.npz"}``, ``{"do": "floor", "repeats": 10}``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.zoo.engines import Engine, engine_of
from benchmarks.zoo.memory import MemoryUse, allocations_by_library
from benchmarks.zoo.spec import parse

Answer = dict[str, Any]


def timed(engine: Engine, request: Answer) -> Answer:
    """Milliseconds of each run."""
    for _ in range(request["warm"]):
        engine.run()
    times = []
    for _ in range(request["runs"]):
        begin = time.perf_counter()
        engine.run()
        times.append((time.perf_counter() - begin) * 1e3)
    return {"ms": times}


def memory(engine: Engine, request: Answer) -> Answer:
    """Page faults, allocations and bytes allocated per run, once warm; allocations of the engine's own code."""
    for _ in range(3):
        engine.run()
    before = MemoryUse.now()
    for _ in range(request["runs"]):
        engine.run()
    after = MemoryUse.now()
    runs = request["runs"]
    return {
        "faults": (after.faults - before.faults) / runs,
        "allocations": (after.allocations - before.allocations) / runs,
        "allocated_bytes": (after.nbytes - before.nbytes) / runs,
        "own_allocations": allocations_by_library(engine.run)[engine.library] if engine.library else None,
    }


def outputs(engine: Engine, request: Answer) -> Answer:
    """By position: OpenVINO may call an output by another of its names."""
    np.savez(request["path"], *engine.run().values())
    return {}


def floor(engine: Engine, request: Answer) -> Answer:
    return {"ms": engine.floor_ms(request["repeats"])}


HANDLERS: dict[str, Callable[[Engine, Answer], Answer]] = {
    "time": timed,
    "memory": memory,
    "outputs": outputs,
    "floor": floor,
}


def main() -> None:
    text, file, inputs_file, threads, answers = sys.argv[1:]
    runner = parse(text)
    with np.load(inputs_file) as archive:
        inputs = {name: archive[name] for name in archive.files}
    with os.fdopen(int(answers), "w") as out:

        def answer(message: Answer) -> None:
            out.write(json.dumps(message) + "\n")
            out.flush()

        try:
            begin = time.perf_counter()
            engine = engine_of(runner)(Path(file), inputs, int(threads), runner)
            engine.run()
            answer({"load_s": time.perf_counter() - begin})
            for line in sys.stdin:
                request = json.loads(line)
                answer(HANDLERS[request["do"]](engine, request))
        except Exception as error:  # whatever the library raises is this runner's result
            answer({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
