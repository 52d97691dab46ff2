"""csource's decode step, which sums up the integers of packed caches."""

import numpy as np
import pytest

from byoc.llm import kv_reference
from tests.kv_cases import FIXED, AttentionModel


def full(model, random, held):
    """`model` with random caches of `held` tokens in each sequence."""
    inputs = model.random_inputs(random, max(held))
    for layout, wanted, cache, name in zip(model.layouts, model.wanted, model.caches, "kv", strict=True):
        kv_reference.append(layout, wanted, inputs[name], np.zeros(2, np.int64), np.array(held), FIXED)
        cache[...] = wanted
    return model


@pytest.mark.parametrize(
    ("spec", "dim", "heads"),
    [
        ("k4v4:g32", 64, 8), ("k8v8:g32", 64, 2), ("k4v8:g64:symmetric", 128, 6), ("k8v4:g0:per-tensor", 32, 4),
        ("k2v8:g16", 64, 4), ("k4v4:g32:mean", 96, 2), ("k8v8:g0", 256, 2),
    ],
)  # fmt: skip
def test_a_step_behind_a_long_context_agrees_with_the_reference(spec: str, dim: int, heads: int) -> None:
    random = np.random.default_rng(3)
    model = AttentionModel(spec, ("csource",), heads=heads, dim=dim, capacity=1100, tokens=1)
    held = np.array([1090, 37])
    full(model, random, held)
    for _ in range(10):  # the last one fills the caches
        inputs = model.random_inputs(random, 1)
        wanted = model.reference(inputs, held)
        assert np.abs(model.run(inputs, held) - wanted).max() <= 2e-4 * np.abs(wanted).max()  # sixteen bits
        held += 1


def test_one_weight_that_outweighs_all_others_is_not_rounded_away() -> None:
    random = np.random.default_rng(3)
    model = full(AttentionModel("k8v8:g32", ("csource",), dim=64, capacity=512, tokens=1), random, [300, 300])
    inputs = model.random_inputs(random, 1)
    inputs["query"] *= 100
    np.testing.assert_allclose(model.run(inputs, [300, 300]), model.reference(inputs, [300, 300]), rtol=1e-3, atol=2e-4)


def test_a_ring_whose_slots_do_not_begin_at_whole_vectors() -> None:
    random = np.random.default_rng(4)
    model = AttentionModel("k8v8:g32", ("csource",), dim=32, heads=4, window=50, capacity=75, tokens=1)
    shape = (2, 0, 2, 32)
    seen = {name: np.empty(shape, np.float32) for name in "kv"}
    for length in range(170):
        inputs = model.random_inputs(random, 1)
        seen = {name: np.concatenate([seen[name], inputs[name]], axis=1) for name in seen}
        found = model.run(inputs, [length] * 2)
        if length % 7:
            continue
        for b in range(2):
            k, v = (seen[name][b].transpose(1, 0, 2) for name in "kv")
            wanted = kv_reference.attend(inputs["query"][b], k, v, length, 32**-0.5, window=50)
            np.testing.assert_allclose(found[b], wanted, atol=0.02)  # eight bits
