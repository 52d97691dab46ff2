"""Integer multipliers, shifts and rounding."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byoc.quant.fixed_point import fixed_point, requantise, shift_half_even


@given(st.floats(1e-9, 1000.0), st.integers(12, 31))
def test_multiplier_and_shift_are_within_half_a_unit_of_the_factor(factor, bits):
    fixed = fixed_point([factor], bits)
    assert 2 ** (bits - 2) <= fixed.multiplier[0] <= 2 ** (bits - 1)
    error = abs(Fraction(fixed.multiplier[0]) / 2 ** fixed.shift[0] - Fraction(factor))
    assert error <= Fraction(1, 2 ** (fixed.shift[0] + 1))


@given(st.integers(-(2**61), 2**61), st.integers(1, 60))
def test_shifting_rounds_to_nearest_with_ties_to_even(product, shift):
    exact = round(Fraction(product, 2**shift))  # Python rounds halves to even
    assert int(shift_half_even(np.int64(product), shift)) == exact


def test_eight_bit_multipliers_are_those_of_the_paper():
    fixed = fixed_point([0.0006485, 0.5, 1.0], bits=8)
    assert fixed.multiplier == (85, 128, 128)  # the first is GoogLeNet's first channel: 85 * 2**-17
    assert fixed.shift == (17, 8, 7)


def test_powers_of_two_are_exact():
    fixed = fixed_point([2.0**-e for e in range(20)], bits=31)
    assert np.array_equal(fixed.real, [2.0**-e for e in range(20)])


def test_requantising_clips():
    assert requantise(np.array([-1000, 3, 5, 1000]), 1, 1, 0, -128, 127).tolist() == [-128, 2, 2, 127]


@pytest.mark.parametrize("factor", [float("nan"), float("inf"), -1.0, 2.0**40])
def test_factors_that_have_no_multiplier_are_refused(factor):
    with pytest.raises(ValueError):
        fixed_point([factor])
