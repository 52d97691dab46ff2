"""Attention, RotaryEmbedding and TensorScatter of the standard, beside the results that come with onnx."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

import numpy as np
import onnx
import pytest
from onnx.backend.test.loader import load_model_tests

from tests.imported import run_on_host

NAMES = r"test_(attention|rotary_embedding|tensorscatter|tensor_scatter)(?!.*expanded).*"
QUICK = (
    "test_attention_4d_gqa", "test_attention_4d_causal", "test_attention_4d_attn_mask_bool", "test_attention_3d_scaled",
    "test_attention_4d_softcap", "test_attention_3d_gqa_with_past_and_present",
    "test_attention_4d_with_past_and_present_qk_matmul_bias", "test_attention_4d_with_qk_matmul_softmax",
    "test_attention_4d_diff_heads_mask4d_padded_kv", "test_attention_4d_fp16", "test_rotary_embedding_interleaved",
    "test_rotary_embedding_no_position_ids_rotary_dim", "test_rotary_embedding_3d_input", "test_tensorscatter",
    "test_tensorscatter_circular", "test_tensorscatter_3d",
)  # fmt: skip


@functools.cache
def cases() -> dict:
    return {c.name: c for c in load_model_tests(kind="node") if re.fullmatch(NAMES, c.name)}


def arrays(protos: Iterable[onnx.TensorProto]) -> list[np.ndarray]:
    return [p if isinstance(p, np.ndarray) else onnx.numpy_helper.to_array(p) for p in protos]


def check(name: str) -> None:
    case = cases()[name]
    model = case.model or onnx.load(f"{case.model_dir}/model.onnx")
    for inputs, wanted in case.data_sets or [stored(case.model_dir, model)]:
        feeds = dict(zip([i.name for i in model.graph.input], arrays(inputs), strict=True))
        for found, right in zip(run_on_host(model, feeds), arrays(wanted), strict=True):
            tolerance = 1e-2 if right.dtype == np.float16 else 1e-4
            np.testing.assert_allclose(found, right, rtol=tolerance, atol=tolerance)


def stored(folder: str, model: onnx.ModelProto) -> tuple[list, list]:
    def read(kind: str, count: int) -> list:
        return [onnx.load_tensor(f"{folder}/test_data_set_0/{kind}_{i}.pb") for i in range(count)]

    return read("input", len(model.graph.input)), read("output", len(model.graph.output))


@pytest.mark.parametrize("name", QUICK)
def test_a_case_of_the_standard_has_its_results(name: str) -> None:
    check(name)


@pytest.mark.slow
def test_every_case_of_the_standard_has_its_results() -> None:
    failed = {}
    for name in cases():
        try:
            check(name)
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {str(error)[:200]}"
    assert failed == {}
