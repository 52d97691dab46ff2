"""int8 from one batch keeps the accuracy of a CNN trained on scikit-learn's digits, down to integer-only C."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

import byoc
from benchmarks.digits import digits_model
from tests.float_models import run

BATCH = 64


def top1(scores: np.ndarray) -> float:
    """Percent, on the digits that neither trained nor calibrated."""
    return 100.0 * float((scores.argmax(1) == digits_model()[2][BATCH:]).mean())


def test_the_float_model_is_worth_quantising():
    model, images, _ = digits_model()
    assert top1(run(model, images[BATCH:])) > 96


@pytest.mark.parametrize(
    "keywords",
    [{}, {"method": "klj"}, {"method": "minmax"}, {"per_channel": False}, {"power_of_two": True}, {"bits": 16}],
)
def test_int8_is_within_half_a_point_of_float(keywords):
    model, images, _ = digits_model()
    quantised = byoc.quantize(model, {"image": images[:BATCH]}, **keywords)
    assert top1(run(quantised.proto, images[BATCH:])) >= top1(run(model, images[BATCH:])) - 0.5


def test_integer_only_c_is_within_half_a_point_of_float():
    model, images, _ = digits_model()
    quantised = byoc.quantize(model, {"image": images[:BATCH]})
    artifact = byoc.compile(quantised.proto, ["csource"], use_cache=False)
    (scores,) = byoc.Session(artifact).run({"image": images[BATCH:]}).values()
    assert top1(scores) >= top1(run(model, images[BATCH:])) - 0.5
