"""How far a result is from its reference."""

from __future__ import annotations

import numpy as np
import pytest

from byoc.difference import difference


def test_relative_error_is_relative_to_the_largest_magnitude_of_the_reference() -> None:
    found = difference("y", np.array([1.0, 10.5], np.float32), np.array([1.0, 10.0], np.float32))
    assert found.max_abs == pytest.approx(0.5) and found.max_rel == pytest.approx(0.05)


def test_equal_nan_and_infinities_are_no_difference() -> None:
    array = np.array([np.nan, np.inf, 1.0], np.float32)
    assert difference("y", array, array.copy()).max_rel == 0.0


def test_a_nan_that_the_reference_lacks_is_an_infinite_difference() -> None:
    found = difference("y", np.array([np.nan], np.float32), np.array([1.0], np.float32))
    assert found.max_rel == float("inf") and "NaN" in found.note


def test_another_dtype_or_shape_is_an_infinite_difference_that_says_so() -> None:
    found = difference("y", np.zeros((2,), np.float32), np.zeros((2, 1), np.float64))
    assert found.max_rel == float("inf") and found.note == "has float32[2], the reference float64[2, 1]"


def test_empty_and_all_zero_results_are_equal() -> None:
    assert difference("y", np.zeros((0, 3)), np.zeros((0, 3))).max_rel == 0.0
    assert difference("y", np.zeros(3), np.zeros(3)).max_rel == 0.0


def test_sixteen_bit_floats_have_a_wider_tolerance_unless_one_is_asked_for() -> None:
    half = difference("y", np.zeros(1, np.float16), np.zeros(1, np.float16))
    assert half.tolerance(None) == 1e-3 and half.tolerance(1e-6) == 1e-6
    assert difference("y", np.zeros(1), np.zeros(1)).tolerance(None) == 1e-4
