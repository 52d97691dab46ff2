"""``byoc profile`` on real models: every part of a run has a name, and measured costs move the cut."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from byoc.cli import main
from tests.golden import golden

CACHE = "--cache-dir"


@pytest.fixture(scope="module")
def mnist(shared_models: Path) -> str:
    return str(shared_models / "mnist-models" / "wonnx_opt-mnist.onnx")


def profile(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["profile", *arguments]) == 0
    return capsys.readouterr().out


def without_figures(text: str) -> str:
    """Times and shares as ``#``, with the columns' widths made one; the rows, which go by time, in order of name."""
    plain = re.sub(r"-+", "-", re.sub(r" +", " ", re.sub(r"\d+\.\d+%?", "#", text)))
    tables = [table.splitlines() for table in plain.split("\n\n")]
    return "\n\n".join("\n".join([*lines[:2], *sorted(lines[2:])]) for lines in tables) + "\n"


def test_the_tables_name_partitions_host_ops_and_everything_else(
    capsys: pytest.CaptureFixture[str], mnist: str
) -> None:
    text = profile(capsys, mnist, "--target", "csource", "--pin", "op:MaxPool=host", "--repeat", "3")
    assert without_figures(text) == golden("profile-mnist.txt")


def test_the_rows_add_up_to_the_wall_time(capsys: pytest.CaptureFixture[str], mnist: str, tmp_path: Path) -> None:
    trace = tmp_path / "t.json"
    flags = ["--target", "csource", "--pin", "op:MaxPool=host", "--json", "--trace", str(trace)]
    told = json.loads(profile(capsys, mnist, *flags))
    rows = [*told["partitions"], *told["ops"], *told["overhead"]]
    assert sum(row["seconds"] for row in rows) >= 0.98 * told["seconds"]
    assert sum(row["seconds"] for row in rows) <= 1.0001 * told["seconds"]
    assert [(row["symbol"], row["target"], row["calls"]) for row in told["partitions"]] == [
        ("csource_main_0", "csource", 1), ("csource_main_1", "csource", 1), ("csource_main_2", "csource", 1),
    ]  # fmt: skip
    events = json.loads(trace.read_text())["traceEvents"]
    named = {event["name"]: event for event in events if event["ph"] == "X"}
    assert named["nn.max_pool2d"]["args"]["nodes"][0].startswith("Pooling")
    assert named["csource_main_0"]["args"] == {"target": "csource"}
    assert all(event["dur"] >= 0 for event in named.values())


def test_every_host_op_of_a_transformer_is_found_in_a_kernel(
    capsys: pytest.CaptureFixture[str], shared_models: Path
) -> None:
    model = str(shared_models / "stories260K" / "stories260K.onnx")
    shapes = ["--shape", "input_ids=1,8", "--shape", "position_ids=1,8"]
    told = json.loads(profile(capsys, model, "--target", "host", *shapes, "--repeat", "1", "--json"))
    covered = {i for row in told["ops"] for i in row["ops"]}
    assert [row["symbol"] for row in told["ops"] if not row["ops"]] == []
    # Of 295 ops, ten reshapes and two expand_dims are views that no kernel computes.
    assert len(covered) >= 283
    assert told["partitions"] == []


def test_measured_costs_decide_the_cut(capsys: pytest.CaptureFixture[str], mnist: str, tmp_path: Path) -> None:
    costs = tmp_path / "costs.json"
    profile(capsys, mnist, "--target", "csource", "--repeat", "2", "--save-costs", str(costs))
    document = json.loads(costs.read_text())
    assert set(document["costs"]) == {"host", "csource"}
    for known in document["costs"].values():
        known.update({key: 1.0 for key in known if "conv2d" in key})
    pooling = [key for key in document["costs"]["csource"] if key.startswith("nn.max_pool2d")]
    assert len(pooling) == 2
    document["costs"]["csource"] |= dict.fromkeys(pooling, 5.0)
    costs.write_text(json.dumps(document))
    flags = ["--target", "csource", "--policy", "cost", "--costs", str(costs), "--json"]
    assert main(["explain", mnist, *flags]) == 0
    told = capsys.readouterr().out
    assert main(["compile", mnist, *flags, "--dry-run", "--save-plan", str(tmp_path / "p.json")]) == 0
    plan = json.loads((tmp_path / "p.json").read_text())
    owners = {op["op"]: op["owner"] for op in plan["functions"][0]["ops"]}
    assert owners["nn.max_pool2d"] == "host"
    assert "estimated to be faster on the host" in told


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (["model.byoc", "--save-costs", "c.json"], 2, "--save-costs needs the ONNX model"),
        (["model.byoc", "--target", "csource"], 2, "model.byoc already has a plan"),
        (["model.onnx", "--target", "csource", "--costs", "none.json"], 2, "file of costs none.json does not exist"),
        (["model.onnx"], 2, "no target is named"),
        (["model.onnx", "--target", "host", "--trace", "no/such/t.json"], 2, "cannot write no/such/t.json"),
    ],
)
def test_wrong_calls_are_answered_in_words(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, what: str
) -> None:
    assert main(["profile", *arguments]) == code
    assert what in capsys.readouterr().err.splitlines()[0]
