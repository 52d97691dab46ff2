"""The formats that benchmarks/kv_quality.py measures: what their caches take, and what its figures mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.kv_quality import FORMATS, fitted
from benchmarks.kv_quality_report import Measured, goals, table, worse
from benchmarks.kv_texts import needle_sequence
from byoc.llm import CacheFormat, KVSpec, Settings, language_model
from byoc.llm.kv_layout import cache_layouts
from byoc.ops import STATES
from tests.language_models import make_folder

CONTEXT, LAYERS, KV_HEADS = 512, 2, 2
SHAPE = {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": KV_HEADS, "num_hidden_layers": LAYERS}


def region_bytes(form: CacheFormat, head_dim: int, mean: bool) -> int:
    """Of one head for 512 tokens, as docs/language-models.md says it."""
    planes = [CONTEXT * head_dim * form.bits // 8, 4 * head_dim * mean]
    if form.bits < 16 and form.granularity != "per-tensor":
        share = form.group * (min(form.group, head_dim) if form.granularity == "per-block" else 1)
        planes += [2 * CONTEXT * head_dim // share] * (1 if form.symmetric else 2)
        planes += [2 * form.group * head_dim] * (form.granularity != "per-token")  # tokens that wait
    return sum((plane + 63) // 64 * 64 for plane in planes)


def cache_size(spec: KVSpec, head_dim: int) -> int:
    mean = spec.key_transform == "mean"
    return region_bytes(spec.keys, head_dim, mean) + region_bytes(spec.values, head_dim, False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("models") / "m"
    make_folder(path, **SHAPE)
    return path


@pytest.mark.parametrize("text", FORMATS)
def test_a_model_keeps_the_bytes_that_the_formula_says(folder: Any, text: str) -> None:
    (spec,) = fitted([text], 32)
    model = language_model(folder, Settings(kv=spec, context=CONTEXT, calibration=tuple(range(40))))
    function = model.module["decode"]
    states = [p.ty for p in function.params if p.name in [str(n) for n in function.attrs[STATES]]]
    assert len(states) == 2 * LAYERS
    held = sum(int(np.prod([int(n) for n in ty.shape])) for ty in states)
    assert held == LAYERS * KV_HEADS * cache_size(spec, 32)


@pytest.mark.parametrize("head_dim", [8, 32, 64, 128])
@pytest.mark.parametrize("text", FORMATS)
def test_layouts_have_the_bytes_that_the_formula_says(text: str, head_dim: int) -> None:
    for spec in fitted([text], head_dim):
        layouts = cache_layouts(spec, head_dim, CONTEXT)
        assert sum(layout.nbytes for layout in layouts) == cache_size(spec, head_dim)


@pytest.mark.parametrize("head_dim", [32, 64, 128])
@pytest.mark.parametrize("text", ["k4v4:g32", "k4v4:g32:mean", "k4v4:g32:hadamard", "k4v4:g32:symmetric"])
def test_four_bits_in_groups_of_32_take_less_than_a_third_of_float16(text: str, head_dim: int) -> None:
    for context in (512, 2048, 8192):
        layouts = cache_layouts(KVSpec.parse(text), head_dim, context)
        assert sum(layout.nbytes for layout in layouts) <= 0.32 * 2 * 2 * context * head_dim


def test_the_list_has_every_width_granularity_symmetry_and_transform() -> None:
    specs = fitted(FORMATS, 32)
    assert len(specs) == len(FORMATS)
    widths = {(s.keys.bits, s.values.bits) for s in specs}
    assert widths >= {(16, 16), (8, 8), (8, 4), (4, 4), (8, 2), (4, 2), (2, 2), (2, 4)}
    four = [s for s in specs if (s.keys.bits, s.values.bits) == (4, 4)]
    for side in ("keys", "values"):
        kept = {getattr(s, side).granularity for s in four}
        assert kept == {"per-token", "per-channel", "per-block", "per-tensor"}
    assert {s.key_transform for s in four} == {"none", "mean", "hadamard"}
    assert {s.keys.symmetric for s in four} == {False, True}
    assert {s.keys.group for s in four if s.keys.granularity == "per-channel"} == {32, 64, 128}


def test_formats_are_made_to_fit_small_heads_and_named_once() -> None:
    assert [str(s) for s in fitted(["k4v4", "k4v4:g8", "k4v4:g16", "k4v4:per-channel"], 8)] == [
        "k4v4:g8", "k4v4:per-channel",
    ]  # fmt: skip


def float_caches(texts: int = 4) -> Measured:
    return Measured("m", "k32v32", 4096, [10] * texts, [8] * texts, [float(5 + i) for i in range(texts)])


def test_a_change_is_relative_to_float_and_its_interval_is_paired() -> None:
    reference = float_caches()
    same = worse(Measured("m", "k16v16", 2048, reference.counts, reference.hits, reference.nats), reference)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    nats = [n + 0.1 for n in reference.nats]  # 0.01 for each token, on every text: texts differ, the change does not
    found = worse(Measured("m", "k8v8", 1024, [10] * 4, [6] * 4, nats), reference)
    for value in (found.value, found.low, found.high):
        assert value == pytest.approx(100 * (np.exp(0.01) - 1))
    assert worse(Measured("m", "k8v8", 1024, [10] * 4, [6] * 4, nats), reference, "recall").value == pytest.approx(25)


def test_a_table_has_bytes_and_changes_and_goals_take_the_best_transform() -> None:
    reference = float_caches()
    pairs = [
        (Measured("m", kv, 640, [10] * 4, [8] * 4, [n + more for n in reference.nats]), reference)
        for kv, more in (("k4v4", 0.5), ("k4v4:hadamard", 0.1))
    ]
    assert list(table([[p] for p in pairs]))[2:] == [
        "| `k4v4` | 0.3125 | +5.13% (+5.13 to +5.13) |",
        "| `k4v4:hadamard` | 0.3125 | +1.01% (+1.01 to +1.01) |",
    ]
    (line,) = goals(pairs)
    assert line.endswith("k4v4:hadamard +1.01% (+1.01 to +1.01), goal 2.0%: holds")
    assert next(goals(pairs[:1])).endswith("does not hold")


def test_calibration_sequences_ask_for_what_they_hold() -> None:
    ids = needle_sequence(np.random.default_rng(0), 64).tolist()
    assert ids[0] == 1 and len(ids) == 64
    held = {ids[i + 1]: ids[i + 3 : i + 5] for i in range(54) if ids[i] == 2}
    assert len(held) == 8
    for i in (54, 59):
        ask, key, answer, *pair = ids[i : i + 5]
        assert (ask, answer) == (4, 5) and held[key] == pair
