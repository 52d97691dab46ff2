"""Choosing tokens from logits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byoc.errors import UsageError
from byoc.llm.sampling import Sampler, Sampling, candidates

LOGITS = np.log(np.array([0.1, 0.5, 0.15, 0.25], np.float32))


def test_greedy_takes_the_most_likely_token_of_each_row():
    assert Sampler(Sampling()).choose(np.stack([LOGITS, -LOGITS])).tolist() == [1, 0]


def test_top_k_keeps_the_most_likely():
    tokens, chances = candidates(LOGITS, Sampling(temperature=1, top_k=2))
    assert tokens.tolist() == [1, 3]
    np.testing.assert_allclose(chances, [2 / 3, 1 / 3], rtol=1e-6)


@pytest.mark.parametrize(("top_p", "kept"), [(0.4, [1]), (0.6, [1, 3]), (0.8, [1, 3, 2]), (1.0, [1, 3, 2, 0])])
def test_top_p_keeps_the_fewest_that_reach_the_sum(top_p, kept):
    assert candidates(LOGITS, Sampling(temperature=1, top_p=top_p))[0].tolist() == kept


def test_a_low_temperature_is_nearly_greedy():
    assert candidates(LOGITS, Sampling(temperature=0.01))[1][0] > 0.999


def test_frequencies_follow_the_probabilities():
    sampler = Sampler(Sampling(temperature=1, seed=1))
    drawn = [int(sampler.choose(LOGITS[None])[0]) for _ in range(4000)]
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 4000, np.exp(LOGITS), atol=0.03)


@given(st.integers(0, 1000), st.floats(0.1, 3), st.integers(0, 4), st.floats(0.05, 1))
def test_the_same_seed_draws_the_same_tokens(seed, temperature, top_k, top_p):
    sampling = Sampling(temperature, top_k, top_p, seed)
    a, b = Sampler(sampling), Sampler(sampling)
    for _ in range(3):
        assert a.choose(LOGITS[None]) == b.choose(LOGITS[None])


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"temperature": -1.0}, "the temperature is -1.0"),
        ({"temperature": float("nan")}, "the temperature is nan"),
        ({"top_k": -1}, "top-k is -1"),
        ({"top_p": 0.0}, "top-p is 0.0"),
        ({"top_p": 1.5}, "top-p is 1.5"),
    ],
)
def test_values_out_of_range_are_refused(values, says):
    with pytest.raises(UsageError, match=says):
        Sampling(**values)
