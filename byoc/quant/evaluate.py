"""Run float ONNX graphs while calibrating: by ONNX Runtime where it is installed, else by byoc itself."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from byoc.errors import QuantizationError


class Evaluator:
    """Runs one model on feeds of its inputs; results in the order of its outputs."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._run = _onnxruntime(model) if has_onnxruntime() else _byoc(model)

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        return list(self._run(feeds))


def has_onnxruntime() -> bool:
    """Whether ONNX Runtime is installed."""
    return importlib.util.find_spec("onnxruntime") is not None


def _onnxruntime(model: onnx.ModelProto) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise QuantizationError(
            f"ONNX Runtime does not load the model to calibrate: {str(error).splitlines()[0]}"
        ) from error

    def run(feeds: Mapping[str, np.ndarray]) -> Any:
        try:
            return session.run(None, dict(feeds))
        except Exception as error:
            raise QuantizationError(
                f"the model fails on the calibration data: {str(error).splitlines()[0]}", "", "check the data"
            ) from error

    return run


def _byoc(model: onnx.ModelProto) -> Any:
    import byoc
    from byoc.runtime import Session

    artifact = byoc.compile(model, ["csource"])
    session = Session(artifact)

    def run(feeds: Mapping[str, np.ndarray]) -> Any:
        results = session.run(dict(feeds))
        return [np.asarray(results[value.name]) for value in model.graph.output]

    return run
