"""Every model at hand runs as it does in ONNX Runtime, or is refused for a reason that is known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import pytest

from tests.e2e.model_sweep import in_own_process, line, names

T = TypeVar("T")

NO_LOWERING = {
    "mnist-models/ort_lr_mnist_scikit.onnx": "ai.onnx.ml.LinearClassifier",
    "test_LSTM.tanh.bidirectional/model.onnx": "LSTM",
    "LabelEncoder.onnx": "ai.onnx.ml.LabelEncoder",
    "model_181031_12.onnx": "ai.onnx.ml.FeatureVectorizer",
    "invalid_dim_param_value_repetition.onnx": "Scan",
    "java/testdata/lr_mnist_scikit.onnx": "ai.onnx.ml.LinearClassifier",
    "scan_1.onnx": "Scan",
    "subgraph_input_shadows_outer_scope_value.onnx": "Loop",
    "dynamic_quantize_matmul.fused.onnx": "com.microsoft.DynamicQuantizeMatMul",
    "zipmap-string.onnx": "ai.onnx.ml.ZipMap",
}
OTHERWISE = {
    "identity_string.onnx": "tensors of type string",
    "overridable_initializer.onnx": "tensors of type string",
    "bias_dropout_fusion2.onnx": "training mode",
    "bias_dropout_residual_fusion2.onnx": "training mode",
    "fp16-truncate-with-cast.onnx": "has no shape in the model",
    # Two constants of one name but of different values; ONNX Runtime takes the last one without a word.
    "gpt2_past.onnx": 'defines the value "284" a second time',
}
REFUSED = {**NO_LOWERING, **OTHERWISE}
# Where ONNX Runtime's usual run is not the measure; reference_runs.py says why.
NOT_USUAL = {
    "resnet20_cifar10_qdq_int8.onnx": ("no graph optimisation", "each layer alone"),
    "mobilenetv2_qat_qdq_int8.onnx": ("no graph optimisation", "each layer alone"),
    "fns-candy.onnx": ("statistics in float64",),
    "tiny-random-gpt2-fp16-cuda/past.onnx": ("all in float32",),
}


def _entry(table: Mapping[str, T], name: str) -> T | None:
    return next((text for end, text in table.items() if f"/{name}".endswith(f"/{end}")), None)


@pytest.mark.slow
@pytest.mark.shared
def test_every_model_matches_onnxruntime_or_is_refused_for_the_known_reason(
    shared_models: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    surprises = []
    for name in names():
        row = in_own_process(name)
        with capfd.disabled():
            print(line(row), flush=True)
        reason = _entry(REFUSED, name)
        if reason is not None:
            as_known = row["status"] == "refused" and reason in row["detail"]
        else:
            measures = ("ONNX Runtime", *(_entry(NOT_USUAL, name) or ()))
            as_known = row["status"] == "ONNX Runtime does not run it" or (
                row["status"] == "matches" and row["beside"] in measures
            )
        if not as_known:
            surprises.append(line(row))
    assert not surprises, "\n".join(surprises)


@pytest.mark.slow
def test_the_light_models_belong_to_csource_nearly_whole() -> None:
    rows = [in_own_process(name) for name in names() if name.startswith("light:")]
    assert len(rows) == 9
    assert {row["name"] for row in rows if row["status"] != "matches" or row["flops_offloaded"] < 0.95} == set()
