"""What the figures that the codegens and the host ship make of real models under the cost policy."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx
import pytest

import byoc
from tests.codegens.dnnl_ops import needs_onednn
from tests.models import light_model

SHAPES = {"input_ids": (1, 32), "position_ids": (1, 32)}


def owners(model: onnx.ModelProto | str, *targets: str, **shapes: tuple[int, ...]) -> Counter[str]:
    plan = byoc.partition(model, targets, policy="cost", shapes=shapes or None)
    return Counter(op.owner for op in plan.functions[0].ops)


@needs_onednn
@pytest.mark.parametrize("order", [("dnnl", "csource"), ("csource", "dnnl")])
def test_a_network_of_convolutions_is_left_whole_to_dnnl_in_any_order(order: tuple[str, str]) -> None:
    assert set(owners(light_model("squeezenet"), *order)) == {"dnnl"}


@needs_onednn
def test_a_language_model_that_dnnl_takes_in_pieces_is_left_whole_to_csource(shared_models: Path) -> None:
    model = str(shared_models / "stories260K" / "stories260K.onnx")
    assert set(owners(model, "dnnl", "csource", **SHAPES)) == {"csource"}
    apart = byoc.partition(model, ["dnnl", "csource"], shapes=SHAPES)
    assert len(apart.functions[0].partitions) > 20  # what priority makes of it: a change of threads between any two


def test_without_dnnl_the_host_has_what_it_does_better_and_csource_its_convolutions_by_winograd() -> None:
    found = owners(light_model("inception_v1"), "csource")
    assert found["host"] > found["csource"] > 20
