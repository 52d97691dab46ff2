"""``byoc viz``: what it writes, with what ``byoc profile`` and ``byoc verify`` measured, and what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import onnx
import pytest
from onnx import TensorProto, helper

from byoc.cli import main
from tests.golden import golden


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """y = softmax(tanh(relu(x))), x float32[4, 8]."""
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="/Relu"),
        helper.make_node("Tanh", ["a"], ["b"], name="/Tanh"),
        helper.make_node("Softmax", ["b"], ["y"], name="/Softmax"),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 8]) for name in "xy")
    path = tmp_path_factory.mktemp("model") / "small.onnx"
    graph = helper.make_graph(nodes, "small", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


FLAGS = ["--target", "csource", "--pin", "/Softmax=host"]


def page_data(path: Path) -> dict[str, Any]:
    data = re.search(r'id="plan">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL)
    assert data is not None
    return json.loads(data[1])


def test_a_page_and_a_picture_are_written(capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path) -> None:
    page, picture = tmp_path / "p.html", tmp_path / "p.svg"
    assert main(["viz", str(model), *FLAGS, "-o", str(page)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"wrote picture {page}" and said[1].startswith("csource 2/3 ops (")
    assert page_data(page)["targets"][0]["name"] == "csource"
    assert main(["viz", str(model), *FLAGS, "-o", str(picture), "--expand", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] == {"picture": str(picture)}
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")


@pytest.mark.shared
@pytest.mark.parametrize(("flags", "name"), [([], "viz-mnist.svg"), (["--expand"], "viz-mnist-expanded.svg")])
def test_the_picture_of_a_real_model_is_this(shared_models: Path, tmp_path: Path, flags: list[str], name: str) -> None:
    mnist, picture = shared_models / "mnist-models" / "wonnx_opt-mnist.onnx", tmp_path / "p.svg"
    assert main(["viz", str(mnist), "--target", "csource", "--pin", "op:MaxPool=host", "-o", str(picture), *flags]) == 0
    assert picture.read_text(encoding="utf-8") == golden(name)


def test_a_page_is_named_after_the_model_and_lies_in_this_folder(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["viz", str(model), *FLAGS]) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["small.html"]


def test_what_profile_and_verify_measured_is_laid_over_partitions_and_host_ops(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    artifact, page = str(tmp_path / "small.byoc"), tmp_path / "p.html"
    assert main(["compile", str(model), *FLAGS, "-o", artifact, "--cache-dir", str(tmp_path / "cache")]) == 0
    measured = {}
    for flag, verb in (("--time", ["profile", artifact]), ("--error", ["verify", artifact, "--model", str(model)])):
        capsys.readouterr()
        assert main([*verb, "--json"]) == 0
        measured[flag] = tmp_path / f"{verb[0]}.json"
        measured[flag].write_text(capsys.readouterr().out, encoding="utf-8")
    given = [word for flag, path in measured.items() for word in (flag, str(path))]
    assert main(["viz", artifact, "-o", str(page), *given]) == 0
    overlays = page_data(page)["overlays"]
    assert overlays["seconds"]["partitions"]["csource_main_0"] > 0
    assert overlays["seconds"]["ops"]["main"].keys() == {"2"} and overlays["seconds"]["ops"]["main"]["2"] > 0
    assert 0 <= overlays["error"]["partitions"]["csource_main_0"] < 1e-4


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (
            ["-o", "p.png"],
            "[BYOC-100] cannot write p.png\n  why: a picture is .html or .svg\n  do:  -o plan.html or -o plan.svg\n",
        ),
        (
            ["-o", "p.svg", "--time", "t.json"],
            "[BYOC-100] --time and --error are shown in a page only\n  do:  -o plan.html\n",
        ),
        (
            ["-o", "p.html", "--expand"],
            "[BYOC-100] --expand is for still pictures; the page has a button for it\n  do:  -o plan.svg\n",
        ),
        (["-o", "p.html", "--time", "none.json"], "[BYOC-100] none.json does not exist\n  do:  check the path\n"),
    ],
    ids=["suffix", "overlay", "expand", "missing"],
)
def test_what_cannot_be_drawn_is_refused_and_nothing_is_written(
    capsys: pytest.CaptureFixture[str],
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["viz", str(model), *FLAGS, *flags]) == 2
    assert capsys.readouterr().err == told
    assert list(tmp_path.iterdir()) == []
