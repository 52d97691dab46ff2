"""The same inputs through ONNX Runtime."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from byoc.errors import InputError, ModelFileError, ToolchainError

_PLACE_IN_SOURCE = re.compile(r"[^\s:]*\.(?:cc|h):\d+ [^\s(]+(?:\([^)]*\))? ?")


def onnxruntime_outputs(
    model: Path, inputs: Mapping[str, np.ndarray], outputs: Sequence[str], threads: int | None
) -> dict[str, np.ndarray]:
    """Run `model` on the CPU and return the named outputs.

    Raises :class:`ToolchainError` without ONNX Runtime, :class:`ModelFileError` or :class:`InputError` where it
    refuses the model or the inputs.
    """
    try:
        import onnxruntime
    except ImportError:
        raise ToolchainError("--check-onnxruntime needs ONNX Runtime", "", "pip install onnxruntime") from None
    if not model.is_file():
        raise ModelFileError(f"model {model} does not exist", todo="check the path after --model")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or 0
    try:
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelFileError(f"ONNX Runtime cannot load {model}", _first_line(error)) from error
    lacking = sorted(set(outputs) - {output.name for output in session.get_outputs()})
    if lacking:
        raise ModelFileError(
            f"{model} has no output {', '.join(lacking)}",
            "the artifact was compiled from another model",
            "give the model it was compiled from with --model",
        )
    try:
        results = session.run(list(outputs), dict(inputs))
    except Exception as error:
        raise InputError(f"ONNX Runtime cannot run {model} on these inputs", _first_line(error)) from error
    return dict(zip(outputs, (np.asarray(result) for result in results), strict=True))


def _first_line(error: Exception) -> str:
    line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return _PLACE_IN_SOURCE.sub("", line)
