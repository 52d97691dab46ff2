"""How each runner loads a model and runs it.  Imported in the process that measures it, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from benchmarks.zoo.spec import Runner

Arrays = dict[str, np.ndarray]


class Engine(Protocol):
    """A loaded model.  `run` is what is timed: arrays in, arrays out.

    `library` is the name of the file with the engine's own code, or "" where that is not to be told from others'.
    """

    library: str

    def run(self) -> Arrays: ...

    def floor_ms(self, repeats: int) -> float | None: ...


class OnnxRuntime:
    """All graph optimisations, which is its default; operators one after another."""

    library = ""

    def __init__(self, model: Path, inputs: Arrays, threads: int, runner: Runner) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self.session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self.names = [output.name for output in self.session.get_outputs()]
        self.inputs = inputs

    def run(self) -> Arrays:
        return dict(zip(self.names, self.session.run(self.names, self.inputs), strict=True))

    def floor_ms(self, repeats: int) -> float | None:
        return None


class OpenVino:
    """Latency hint; float32, unless option ``precision`` says otherwise (its default on CPUs with bf16 is bf16)."""

    library = ""

    def __init__(self, model: Path, inputs: Arrays, threads: int, runner: Runner) -> None:
        import openvino

        core = openvino.Core()
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": runner.options.get("openvino", {}).get("precision", "f32"),
        }
        compiled = core.compile_model(str(model), "CPU", settings)
        self.names = [output.any_name for output in compiled.outputs]
        self.request = compiled.create_infer_request()
        self.inputs = inputs

    def run(self) -> Arrays:
        results = self.request.infer(self.inputs, share_inputs=True, share_outputs=True)
        return {name: results[index] for index, name in enumerate(self.names)}

    def floor_ms(self, repeats: int) -> float | None:
        return None


class Byoc:
    """A session on the artifact in a file."""

    library = "library.so"

    def __init__(self, model: Path, inputs: Arrays, threads: int, runner: Runner) -> None:
        import byoc
        from byoc.runtime import aligned_copy

        self.session = byoc.load(model, threads=threads)
        self.inputs = {name: aligned_copy(array) for name, array in inputs.items()}

    def run(self) -> Arrays:
        return self.session.run(self.inputs)

    def floor_ms(self, repeats: int) -> float | None:
        from benchmarks.zoo.floor import floor_ms

        return floor_ms(self.session, repeats)


def engine_of(runner: Runner) -> Callable[[Path, Arrays, int, Runner], Engine]:
    if not runner.foreign:
        return Byoc
    return OnnxRuntime if runner.targets[0] == "onnxruntime" else OpenVino
