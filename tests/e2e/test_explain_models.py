"""``byoc explain`` on real models: every table as it is printed, and suggestions that hold when followed."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from byoc.cli import main
from tests.golden import golden

NPU = str(Path(__file__).resolve().parents[1] / "npu.py")
ONE_IMAGE = ["--shape", "input=1,3,32,32"]

pytestmark = pytest.mark.shared


@pytest.fixture
def resnet20(shared_models: Path) -> str:
    return str(shared_models / "cifar10-resnet" / "resnet20_cifar10.onnx")


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main([*arguments, "--plugin", NPU]) == 0
    return capsys.readouterr().out


def explained(capsys: pytest.CaptureFixture[str], model: str, *flags: str) -> dict[str, Any]:
    return json.loads(printed(capsys, "explain", model, *flags, "--json"))


def test_the_explanation_of_resnet20_is_this(capsys: pytest.CaptureFixture[str], resnet20: str) -> None:
    assert printed(capsys, "explain", resnet20, "--target", "npu", *ONE_IMAGE) == golden("explain-resnet20.txt")


def test_the_explanation_of_one_convolution_is_this(capsys: pytest.CaptureFixture[str], resnet20: str) -> None:
    node = "/layer2/layer2.0/conv1/Conv"
    text = printed(capsys, "explain", resnet20, node, "--target", "npu", *ONE_IMAGE)
    assert text == golden("explain-resnet20-conv.txt")


def test_the_difference_of_two_plans_is_this(capsys: pytest.CaptureFixture[str], resnet20: str, tmp_path: Path) -> None:
    before, after = str(tmp_path / "before.json"), str(tmp_path / "after.json")
    plan = ["compile", resnet20, "--target", "npu", *ONE_IMAGE, "--dry-run", "--save-plan"]
    printed(capsys, *plan, before)
    printed(capsys, *plan, after, "--option", "npu.strides=2", "--min-ops", "4")
    assert printed(capsys, "explain", "--diff", before, after) == golden("explain-resnet20-diff.txt")
    assert printed(capsys, "explain", "--diff", before, before) == "The plans do not differ.\n"
    document = json.loads(printed(capsys, "explain", "--diff", before, after, "--json"))
    assert not document["same"] and document["partitions"] == {"before": 10, "after": 9}
    assert [(m["before"], m["after"], m["ops"]) for m in document["moves"]] == [("host", "npu", 6), ("npu", "host", 1)]


def test_json_has_the_splits_one_by_one(capsys: pytest.CaptureFixture[str], resnet20: str) -> None:
    splits = explained(capsys, resnet20, "--target", "npu", *ONE_IMAGE)["splits"]
    assert [(s["before"], s["after"]) for s in splits] == [(k, k + 1) for k in range(9)]
    assert splits[2]["op_types"] == {"Conv": 2, "Relu": 2, "Add": 1}
    assert splits[2]["first_node"] == "/layer1/layer1.2/Add"


@pytest.mark.parametrize(
    ("model", "flags", "change"),
    [
        ("cifar10-resnet/resnet20_cifar10.onnx", [], "fix the shapes of the inputs (here to 1 where they are free)"),
        ("cifar10-resnet/resnet20_cifar10.onnx", ONE_IMAGE, "set the option npu.strides to 2"),
        ("cifar10-resnet/resnet20_cifar10.onnx", [*ONE_IMAGE, "--pin", "op:Conv=host"], "drop the pin op:Conv=host"),
        ("cifar10-resnet/resnet20_cifar10.onnx", [*ONE_IMAGE, "--min-ops", "7"], "drop --min-ops"),
        ("fastestdet/FastestDet.onnx", ["--option", "npu.strides=2"], "ask csource too"),
    ],
    ids=["shape", "option", "pin", "min-ops", "target"],
)
def test_a_suggestion_that_is_followed_changes_the_plan_as_said(
    capsys: pytest.CaptureFixture[str], shared_models: Path, model: str, flags: list[str], change: str
) -> None:
    path = str(shared_models / model)
    now = explained(capsys, path, "--target", "npu", *flags)
    suggestion = now["suggestion"]
    assert suggestion["change"] == change
    assert_achieves(now, suggestion["now"])
    then = explained(capsys, path, *shlex.split(shlex.join(suggestion["flags"])))
    assert_achieves(then, suggestion["then"])
    assert suggestion["then"]["flops"] / suggestion["then"]["all_flops"] > now["coverage"][0]["flops_share"]


def assert_achieves(explanation: dict[str, Any], outcome: dict[str, int]) -> None:
    """The explanation of a plan agrees with what was said of it."""
    shares = explanation["coverage"]
    assert sum(s["ops"] for s in shares if s["owner"] != "host") == outcome["ops"]
    assert sum(s["flops"] for s in shares if s["owner"] != "host") == outcome["flops"]
    assert sum(s["ops"] for s in shares) == outcome["all_ops"]
    assert len(explanation["partitions"]) == outcome["partitions"]
    assert sum(p["bytes_in"] + p["bytes_out"] for p in explanation["partitions"]) == outcome["boundary_bytes"]


def test_nothing_is_suggested_where_nothing_helps_or_no_model_is_at_hand(
    capsys: pytest.CaptureFixture[str], resnet20: str, tmp_path: Path
) -> None:
    assert explained(capsys, resnet20, "--target", "csource", *ONE_IMAGE)["suggestion"] is None
    plan = str(tmp_path / "plan.json")
    printed(capsys, "compile", resnet20, "--target", "npu", *ONE_IMAGE, "--dry-run", "--save-plan", plan)
    assert json.loads(printed(capsys, "explain", plan, "--json"))["suggestion"] is None
