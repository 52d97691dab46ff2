"""Calibration runs on byoc itself where ONNX Runtime is not installed."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from byoc.quant import evaluate, quantize
from tests.float_models import decibels, float_model, images, run


def test_calibration_needs_no_onnxruntime(monkeypatch):
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((4, 3, 3, 3)).astype("float32"), "b": rng.standard_normal(4).astype("float32")}
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv"), helper.make_node("Relu", ["c"], ["y"], "relu")]
    model = float_model(nodes, weights)
    with_it = quantize(model, {"x": images()})
    monkeypatch.setattr(evaluate, "has_onnxruntime", lambda: False)
    without = quantize(model, {"x": images()})
    for name, found in with_it.ranges.items():
        assert without.ranges[name].threshold == pytest.approx(found.threshold, rel=0.02)
    assert decibels(run(model, images()), run(without.proto, images())) > 25
