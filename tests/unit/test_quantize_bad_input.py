"""What `byoc quantize` says to data and models that it cannot work with: the texts, and that nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from byoc.cli.guard import guarded
from byoc.quant import quantize
from tests.float_models import float_model, images, small_cnn
from tests.golden import golden


def _with_nan() -> np.ndarray:
    array = images()
    array[0, 0, 0, :3] = np.nan
    return array


DATA: dict[str, Callable[[], dict[str, np.ndarray]]] = {
    "another-name": lambda: {"X": images()},
    "no-array": lambda: {},
    "another-rank": lambda: {"x": images()[0]},
    "another-shape": lambda: {"x": images()[:, :, :4]},
    "another-type": lambda: {"x": images().astype("int64")},
    "no-samples": lambda: {"x": images()[:0]},
    "not-finite": lambda: {"x": _with_nan()},
    "zeros": lambda: {"x": np.zeros_like(images())},
    "objects": lambda: {"x": np.array([{}, []], dtype=object)},
}


def _overflowing() -> onnx.ModelProto:
    """Its product is beyond the largest float."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], "conv"), helper.make_node("Conv", ["c", "v"], ["y"], "second")]
    weights = {n: np.full((3, 3, 1, 1), 1e25, "float32") for n in ("w", "v")}
    return float_model(nodes, weights)


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "quantised": lambda: quantize(small_cnn(), {"x": images()}).proto,
    "softmax": lambda: float_model([helper.make_node("Softmax", ["x"], ["y"], "soft")], {}),
    "overflowing": _overflowing,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    onnx.save(small_cnn(), "model.onnx")
    np.savez("good.npz", x=images())
    np.save("array.npy", images())
    for name, make in DATA.items():
        np.savez(f"{name}.npz", **make())  # type: ignore[arg-type]
    for name, build in MODELS.items():
        onnx.save(build(), f"{name}.onnx")
    Path("empty").mkdir()
    return tmp_path


def calls() -> list[list[str]]:
    data = [*(f"{name}.npz" for name in DATA), "nowhere.npz", "array.npy", "model.onnx", "empty"]
    good = ["--calibrate", "good.npz"]
    return [
        *(["model.onnx", "--calibrate", file] for file in data),
        *([f"{name}.onnx", *good] for name in MODELS),
        ["nowhere.onnx", *good],
        ["good.npz", *good],
        ["model.onnx", *good, "--keep", "conv_1"],
        ["model.onnx", *good, "--keep", "op:Convolution"],
        ["model.onnx", *good, "-o", "nowhere/q.onnx"],
    ]


def test_each_kind_of_bad_input_has_its_text_and_writes_nothing(folder, capsys):
    before = sorted(folder.iterdir())
    said = []
    for call in calls():
        code = guarded(["quantize", *call])
        answer = capsys.readouterr()
        assert code and not answer.out
        said.append(f"$ byoc quantize {' '.join(call)}\n{answer.err}exit code {code}\n")
    assert "\n".join(said) == golden("quantize-bad-input.txt")
    assert sorted(folder.iterdir()) == before


def test_a_tensor_that_never_changes_is_quantised():
    """Its range is degenerate: one value, or none above zero."""
    weights = {"w": np.zeros((2, 3, 1, 1), "float32"), "b": np.array([3.0, 0.0], "float32")}
    model = float_model([helper.make_node("Conv", ["x", "w", "b"], ["y"], "conv")], weights)
    quantised = quantize(model, {"x": images()})
    assert quantised.ranges["y"].threshold == pytest.approx(3.0, rel=0.01)
    assert np.isfinite([r.step for r in quantised.ranges.values()]).all()
