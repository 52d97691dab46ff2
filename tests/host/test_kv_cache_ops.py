"""Appending to a cache and attending over it: what the host compiles agrees with the NumPy reference."""

import numpy as np
import pytest

from byoc.llm import kv_reference
from tests.kv_cases import SPECS, AttentionModel


@pytest.mark.parametrize("spec", SPECS)
def test_prefill_then_decode_agrees_with_the_reference_and_updates_in_place(spec):
    model, random, length = AttentionModel(spec), np.random.default_rng(1), 0
    for tokens in (5, 1, 3):
        inputs, lengths = model.random_inputs(random, tokens), [length] * 2
        np.testing.assert_allclose(model.run(inputs, lengths), model.reference(inputs, lengths), rtol=1e-4, atol=1e-5)
        if "mean" not in spec:
            for cache, wanted in zip(model.caches, model.wanted, strict=True):
                np.testing.assert_array_equal(cache, wanted)
        length += tokens


@pytest.mark.parametrize("spec", ["k8v8:g8", "k4v4:g4:per-channel", "k4v4:g8:mean"])
def test_sequences_of_one_batch_may_differ_in_length_and_padding_leaves_no_trace(spec):
    model, random = AttentionModel(spec), np.random.default_rng(2)
    for tokens, lengths, counts in ((4, [0, 0], [4, 1]), (2, [4, 1], [2, 2]), (3, [6, 3], [0, 3])):
        inputs = model.random_inputs(random, tokens)
        found, wanted = model.run(inputs, lengths, counts), model.reference(inputs, lengths, counts)
        for b, count in enumerate(counts):
            np.testing.assert_allclose(found[b, :count], wanted[b, :count], rtol=1e-4, atol=1e-5)


def test_a_window_limits_how_far_back_a_query_sees():
    model, random = AttentionModel("k32v32", window=3), np.random.default_rng(3)
    inputs = model.random_inputs(random, 6)
    np.testing.assert_allclose(model.run(inputs, [0, 0]), model.reference(inputs, [0, 0]), rtol=1e-4, atol=1e-5)


def test_a_ring_holds_what_a_window_needs_however_long_the_sequence():
    model, random = AttentionModel("k32v32", window=6, capacity=16), np.random.default_rng(4)
    seen = {"k": np.empty((2, 0, 2, 8), np.float32), "v": np.empty((2, 0, 2, 8), np.float32)}
    for tokens in (9, 5, 1, 8, 1, 1):
        length, inputs = seen["k"].shape[1], model.random_inputs(random, tokens)
        seen = {name: np.concatenate([seen[name], inputs[name]], axis=1) for name in seen}
        found = model.run(inputs, [length] * 2)
        for b in range(2):
            k, v = (seen[name][b].transpose(1, 0, 2) for name in "kv")
            wanted = kv_reference.attend(inputs["query"][b], k, v, length, 8**-0.5, window=6)
            np.testing.assert_allclose(found[b], wanted, rtol=1e-4, atol=1e-5)
