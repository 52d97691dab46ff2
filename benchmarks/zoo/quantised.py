"""Models of the zoo quantised by byoc: the same QDQ file for every runner.

``NAME.int8`` is NAME after `byoc.quantize` on one seeded batch, or after `byoc.quantize_dynamic` for a transformer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

SUFFIX = ".int8"
STATIC = (
    "bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet", "vgg19",
    "zfnet512", "mobilenet_v2",
)  # fmt: skip
DYNAMIC = ("minilm",)
SAMPLES = 4  # of the calibration batch: random weights have nothing to learn from more


def float_name(name: str) -> str:
    """The model that a quantised one was made from."""
    return name.removesuffix(SUFFIX)


def quantised(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray], static: bool) -> onnx.ModelProto:
    """The model in 8 bits; `inputs` are what calibrates it."""
    import byoc

    if not static:
        return byoc.quantize_dynamic(model).proto
    return byoc.quantize(model, dict(inputs), progressive=False).proto


def calibration(inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Seeded normal numbers of the shapes of `inputs`, several samples of each."""
    rng = np.random.default_rng(2)
    return {n: rng.standard_normal((SAMPLES * len(x), *x.shape[1:])).astype(np.float32) for n, x in inputs.items()}
