"""Models that other tools quantised run in integers here, and give what ONNX Runtime gives to within a few steps.

Where a total lies near a tie, engines that scale in float32 and integer C round it to different sides; from layer to
layer such steps multiply, so that outputs are compared by how far they are apart as a whole.  What each layer gives by
itself is compared in `benchmarks/int8_layers.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import byoc
from tests.models import shared_folder

pytestmark = pytest.mark.shared


@dataclass(frozen=True)
class Quantised:
    """A file, the shape of its input, how many layers run in integers, and what its outputs may differ by.

    ``steps`` and ``mean``: largest and mean distance of outputs, in steps of an integer output; ``decibels``: signal
    over difference of a float output.
    """

    file: str
    shape: tuple[int, ...]
    layers: int
    steps: int = 0
    mean: float = 0.0
    decibels: float = 0.0


MODELS = (
    Quantised("mlperf-tiny/ad01_int8.onnx", (8, 640), 10, steps=1, mean=0.01),
    Quantised("mlperf-tiny/kws_ref_model.onnx", (16, 49, 10, 1), 11, steps=1, mean=0.01),
    Quantised("mlperf-tiny/pretrainedResnet_quant.onnx", (4, 32, 32, 3), 14, steps=10, mean=0.6),
    Quantised("cifar10-resnet/resnet20_cifar10_qdq_int8.onnx", (4, 3, 32, 32), 30, decibels=30),
    Quantised("cifar10-resnet/resnet20_cifar10_qoperator_int8.onnx", (4, 3, 32, 32), 30, decibels=30),
    Quantised("mobilenetv2-int8/mobilenetv2_qat_qdq_int8.onnx", (1, 3, 224, 224), 64, decibels=18),
)


def inputs_of(model: onnx.ModelProto, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    (value,) = model.graph.input
    rng = np.random.default_rng(0)
    if value.type.tensor_type.elem_type == onnx.TensorProto.INT8:
        return {value.name: np.clip(np.rint(rng.normal(0, 40, shape)), -128, 127).astype("int8")}
    smooth = rng.standard_normal((*shape[:2], *(d // 4 for d in shape[2:]))).astype("float32")
    return {value.name: smooth.repeat(4, 2).repeat(4, 3)}


@pytest.mark.parametrize("target", ["csource", "dnnl"])
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=Path(case.file).stem, marks=[pytest.mark.slow] if "mobilenet" in case.file else [])
        for case in MODELS
    ],
)
def test_outputs_are_those_of_onnxruntime(case, target):
    folder = shared_folder()
    assert folder is not None
    path = folder / "models" / case.file
    model = onnx.load(path)
    feeds = inputs_of(model, case.shape)
    plan = byoc.partition(model, [target], shapes={name: x.shape for name, x in feeds.items()})
    ops = [op for function in plan.functions for op in function.ops]
    weighted = [op for op in ops if op.op in ("byoc.qlinear_conv", "byoc.qlinear_matmul")]
    assert len([op for op in ops if op.op.startswith("byoc.")]) >= case.layers
    assert {op.owner for op in weighted} == {target}
    assert not [op.node for op in ops if op.op.startswith(("nn.conv", "matmul"))]
    (ours,) = byoc.compile(plan, use_cache=False).session().run(feeds).values()
    (theirs,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feeds)
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
    difference = np.abs(ours.astype("float64") - theirs)
    if case.decibels:
        noise = 10 * np.log10(np.square(theirs).mean() / max(np.square(difference).mean(), 1e-12))
        assert noise >= case.decibels
    else:
        assert difference.max() <= case.steps and difference.mean() <= case.mean
