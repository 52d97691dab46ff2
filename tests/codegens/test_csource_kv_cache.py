"""csource's caches: every format, long contexts, rings, padding."""

import numpy as np
import pytest

from byoc.llm import kv_reference
from tests.kv_cases import SPECS, AttentionModel

CSOURCE = ("csource",)


def assert_owned(model):
    assert {op.owner for op in model.plan.functions[0].ops if op.op.startswith("byoc.")} == {"csource"}


@pytest.mark.parametrize("spec", SPECS)
def test_prefill_then_decode_agrees_with_the_reference_and_fills_the_same_bytes(spec):
    model, random, length = AttentionModel(spec, CSOURCE), np.random.default_rng(1), 0
    assert_owned(model)
    for tokens in (5, 1, 3):
        inputs, lengths = model.random_inputs(random, tokens), [length] * 2
        np.testing.assert_allclose(model.run(inputs, lengths), model.reference(inputs, lengths), rtol=1e-4, atol=1e-5)
        if "mean" not in spec:
            for cache, wanted in zip(model.caches, model.wanted, strict=True):
                np.testing.assert_array_equal(cache, wanted)
        length += tokens


@pytest.mark.parametrize("dim", [32, 64, 80])
@pytest.mark.parametrize(
    "spec", ["k32v16:g16", "k4v4:g16", "k2v8:g16", "k4v2:g16:per-channel", "k8v4:g32:k.per-channel:v.g16"]
)
def test_long_contexts_in_heads_of_usual_size(spec, dim):
    model = AttentionModel(spec, CSOURCE, batch=1, heads=6, kv_heads=2, dim=dim, capacity=1600)
    random, length = np.random.default_rng(1), 0
    for tokens in (700, 1, 300):
        inputs = model.random_inputs(random, tokens)
        np.testing.assert_allclose(model.run(inputs, [length]), model.reference(inputs, [length]), rtol=2e-4, atol=2e-5)
        length += tokens


@pytest.mark.parametrize("spec", ["k4v4:g16", "k8v8:g32:per-channel", "k32v32"])
def test_a_decode_step_splits_a_long_context_over_threads(spec):
    prefill = AttentionModel(spec, CSOURCE, batch=2, heads=4, kv_heads=2, dim=32, capacity=2048)
    decode = AttentionModel(spec, CSOURCE, batch=2, heads=4, kv_heads=2, dim=32, capacity=2048, tokens=1)
    random = np.random.default_rng(1)
    inputs = prefill.random_inputs(random, 1500)
    prefill.run(inputs, [0, 0], [1500, 40])
    decode.reference(inputs, [0, 0], [1500, 40])
    for cache, filled in zip(decode.caches, prefill.caches, strict=True):
        cache[...] = filled
    inputs = decode.random_inputs(random, 1)
    lengths = [1500, 40]
    np.testing.assert_allclose(decode.run(inputs, lengths), decode.reference(inputs, lengths), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("spec", ["k8v8:g8", "k4v4:g4:per-channel", "k4v4:g8:mean"])
def test_sequences_of_one_batch_may_differ_in_length_and_padding_leaves_no_trace(spec):
    model, random = AttentionModel(spec, CSOURCE), np.random.default_rng(2)
    for tokens, lengths, counts in ((4, [0, 0], [4, 1]), (2, [4, 1], [2, 2]), (3, [6, 3], [0, 3])):
        inputs = model.random_inputs(random, tokens)
        found, wanted = model.run(inputs, lengths, counts), model.reference(inputs, lengths, counts)
        for b, count in enumerate(counts):
            np.testing.assert_allclose(found[b, :count], wanted[b, :count], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("capacity", [16, 24, 80])
def test_a_ring_holds_what_a_window_needs_however_long_the_sequence(capacity):
    model, random = AttentionModel("k32v32", CSOURCE, window=6, capacity=capacity), np.random.default_rng(4)
    seen = {name: np.empty((2, 0, 2, 8), np.float32) for name in "kv"}
    for tokens in (9, 5, 1, 8, 1, 10, 10, 10, 10, 10, 10, 1):
        length, inputs = seen["k"].shape[1], model.random_inputs(random, tokens)
        seen = {name: np.concatenate([seen[name], inputs[name]], axis=1) for name in seen}
        found = model.run(inputs, [length] * 2)
        for b in range(2):
            k, v = (seen[name][b].transpose(1, 0, 2) for name in "kv")
            wanted = kv_reference.attend(inputs["query"][b], k, v, length, 8**-0.5, window=6)
            np.testing.assert_allclose(found[b], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "dim", "heads"), [("k8v8:g1024:per-channel", 512, 2), ("k32v32", 2048, 2), ("k32v32", 8, 257)]
)
def test_what_would_not_fit_the_stack_of_a_kernel_is_left_to_the_host(spec, dim, heads):
    model = AttentionModel(spec, CSOURCE, batch=1, heads=heads, kv_heads=1, dim=dim)
    owners = {op.op: op.owner for op in model.plan.functions[0].ops if op.op.startswith("byoc.kv")}
    assert "host" in owners.values(), owners
    inputs = model.random_inputs(np.random.default_rng(1), 3)
    np.testing.assert_allclose(model.run(inputs, [0]), model.reference(inputs, [0]), rtol=1e-4, atol=1e-5)


def test_as_many_tokens_as_may_wait_for_their_group_become_integers_together():
    model = AttentionModel("k8v8:g1024:per-channel", CSOURCE, batch=1, dim=16, capacity=2048)
    assert_owned(model)
    random, length = np.random.default_rng(1), 0
    for tokens in (1020, 1, 5):
        inputs = model.random_inputs(random, tokens)
        np.testing.assert_allclose(model.run(inputs, [length]), model.reference(inputs, [length]), rtol=2e-4, atol=2e-5)
        length += tokens
