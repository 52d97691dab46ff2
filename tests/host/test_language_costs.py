"""Plans of language models by cost: the ops of a cache and of packed weights have rates of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

import byoc
from byoc.llm import LanguageModel, Settings, WeightSpec, language_model, parse_kv
from tests.codegens.dnnl_ops import needs_onednn
from tests.language_models import make_folder

WIDE = {"hidden_size": 256, "intermediate_size": 704, "vocab_size": 500}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "wide"
    make_folder(path, **WIDE)
    return path


def model(folder: Path, weights: str) -> LanguageModel:
    return language_model(folder, Settings(kv=parse_kv("k4v4:g32", 2), weights=WeightSpec.parse(weights), context=1024))


def owners(plan: byoc.Plan) -> dict[str, list[str]]:
    return {f.name: [op.owner for op in f.ops] for f in plan.functions}


@needs_onednn
@pytest.mark.parametrize("weights", ["f32", "f16", "rtn8:g32", "rtn4:g32"])
def test_by_cost_a_language_model_is_cut_as_by_priority(folder: Path, weights: str) -> None:
    whole = model(folder, weights)
    by_cost = byoc.partition(whole, ["csource", "dnnl"], policy="cost")
    assert owners(by_cost) == owners(byoc.partition(whole, ["csource", "dnnl"]))
    assert {len(f.partitions) for f in by_cost.functions} == {1}


def test_by_cost_the_host_has_none_of_the_products_with_packed_weights(folder: Path) -> None:
    plan = byoc.partition(model(folder, "rtn4:g32"), ["csource"], policy="cost")
    placed = {(op.op, op.owner) for f in plan.functions for op in f.ops}
    assert ("byoc.linear_w4", "csource") in placed
    assert ("byoc.linear_w4", "host") not in placed


def test_a_step_is_counted_by_the_bytes_and_a_chunk_by_the_operations_of_its_products(folder: Path) -> None:
    plan = byoc.partition(model(folder, "rtn4:g32"), [])
    work = {f.name: next(op for op in f.ops if op.op == "byoc.linear_w4" and "gate" in op.node) for f in plan.functions}
    weights = 704 * 256 // 2 + 3 * 704 * 256 // 32  # half a byte each, a float16 and a zero point for every 32
    assert work["decode"].flops == 2 * 256 * 704
    assert work["decode"].bytes == weights + 4 * (256 + 704)
    tokens = plan.settings.nominal_dim
    assert work["prefill"].flops == tokens * work["decode"].flops
    assert work["prefill"].bytes == weights + 4 * tokens * (256 + 704)


def test_an_append_costs_its_tokens_and_attention_the_cache(folder: Path) -> None:
    (decode,) = (f for f in byoc.partition(model(folder, "f32"), []).functions if f.name == "decode")
    append = next(op for op in decode.ops if op.op == "byoc.kv_append")
    attention = next(op for op in decode.ops if op.op == "byoc.kv_attention")
    head_dim, heads, kv_heads = 64, 4, 2
    assert append.bytes == 2 * 4 * kv_heads * head_dim
    assert attention.flops == 4 * heads * head_dim * 1024
    assert attention.bytes > 2 * kv_heads * 1024 * head_dim * 5 // 8  # four bits, and one for scale and minimum
