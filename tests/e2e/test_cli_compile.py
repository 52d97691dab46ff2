"""``byoc compile`` and ``byoc explain`` on a small model, with a codegen from a plugin file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from byoc.cli import main

PLUGIN = Path(__file__).resolve().parents[2] / "examples" / "myaccel" / "myaccel" / "__init__.py"
FLAGS = ["--plugin", str(PLUGIN), "--target", "myaccel"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """y = softmax(relu(x @ w)), x float32[5, 8]."""
    weight = numpy_helper.from_array(np.random.default_rng(0).standard_normal((8, 4), np.float32), "w")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="/fc/MatMul"),
        helper.make_node("Relu", ["a"], ["b"], name="/fc/Relu"),
        helper.make_node("Softmax", ["b"], ["y"], name="/Softmax"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [5, 4])
    graph = helper.make_graph(nodes, "small", [x], [y], [weight])
    path = tmp_path_factory.mktemp("model") / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def cache(tmp_path: Path) -> list[str]:
    return ["--cache-dir", str(tmp_path / "cache")]


def test_compile_ends_with_one_line_and_the_artifact_agrees_with_onnxruntime(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path, cache: list[str]
) -> None:
    artifact = tmp_path / "small.byoc"
    assert main(["compile", str(model), *FLAGS, "-o", str(artifact), *cache]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0] == f"wrote artifact {artifact}"
    assert captured.out.splitlines()[-1].startswith("myaccel 2/3 ops (")
    assert captured.out.endswith(' in 1 partition; host 1 - "byoc explain" says why\n')
    assert captured.err == ""
    assert main(["run", str(artifact), "--check-onnxruntime", "--model", str(model)]) == 0
    assert main(["explain", str(artifact)]) == 0
    assert "no pattern of myaccel has the op nn.softmax" in capsys.readouterr().out


def test_the_artifact_is_named_after_the_model_and_lies_in_this_folder(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path, cache: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["compile", str(model), *FLAGS, *cache, "--json"]) == 0
    written = json.loads(capsys.readouterr().out)["written"]
    assert written == {"artifact": "small.byoc", "sources": None, "plan": None, "measurements": None}
    assert (tmp_path / "small.byoc").is_file()


def test_a_dry_run_writes_the_plan_and_nothing_else(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["compile", str(model), *FLAGS, "--dry-run", "--save-plan", "plan.json"]) == 0
    assert [file.name for file in tmp_path.iterdir()] == ["plan.json"]
    assert capsys.readouterr().out.startswith("wrote plan plan.json\nmyaccel 2/3 ops")


def test_a_replayed_plan_is_the_plan_that_was_saved(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    first, again = tmp_path / "first.json", tmp_path / "again.json"
    assert main(["compile", str(model), *FLAGS, "--pin", "/Softmax=host", "--dry-run", "--save-plan", str(first)]) == 0
    flags = ["--plugin", str(PLUGIN), "--plan", str(first)]
    assert main(["compile", str(model), *flags, "--dry-run", "--save-plan", str(again)]) == 0
    assert first.read_bytes() == again.read_bytes()
    assert "pinned to host" in first.read_text(encoding="utf-8")


def test_a_plan_of_another_model_is_refused(capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path) -> None:
    plan, other = tmp_path / "plan.json", tmp_path / "other.onnx"
    assert main(["compile", str(model), *FLAGS, "--dry-run", "--save-plan", str(plan)]) == 0
    changed = onnx.load(model)
    changed.graph.node[1].op_type = "Tanh"
    onnx.save(changed, other)
    capsys.readouterr()
    assert main(["compile", str(other), "--plugin", str(PLUGIN), "--plan", str(plan), "--dry-run"]) == 5
    assert capsys.readouterr().err.startswith("[BYOC-400] the plan was made for another model (")


def test_generated_sources_are_written_for_reading_even_after_a_cached_compile(
    model: Path, tmp_path: Path, cache: list[str]
) -> None:
    flags = [*FLAGS, *cache, "-o", str(tmp_path / "m.byoc")]
    assert main(["compile", str(model), *flags]) == 0
    for _ in range(2):  # into a folder that is made, and one that is there
        assert main(["compile", str(model), *flags, "--emit-c", str(tmp_path / "c")]) == 0
    (source,) = (tmp_path / "c").iterdir()
    assert "myaccel_dense_relu(" in source.read_text(encoding="utf-8")


def test_a_cached_compile_writes_the_same_bytes(model: Path, tmp_path: Path, cache: list[str]) -> None:
    for name in ("first", "second"):
        assert main(["compile", str(model), *FLAGS, *cache, "-o", str(tmp_path / name)]) == 0
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_an_unusable_cache_is_a_warning_of_one_line_and_no_error(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    flags = ["-o", str(tmp_path / "m.byoc"), "--cache-dir", str(tmp_path / "file")]
    assert main(["compile", str(model), *FLAGS, *flags]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: ") and str(tmp_path / "file") in line


def test_require_stops_before_anything_is_written(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    artifact = tmp_path / "m.byoc"
    assert main(["compile", str(model), *FLAGS, "--require", "99", "-o", str(artifact)]) == 8
    error = capsys.readouterr().err
    assert error.startswith("[BYOC-401] only ") and "--require asks for 99%" in error
    assert not artifact.exists()


def test_one_node_is_explained(capsys: pytest.CaptureFixture[str], model: Path) -> None:
    assert main(["explain", str(model), "/fc/MatMul", *FLAGS]) == 0
    out = capsys.readouterr().out
    assert out.startswith("/fc/MatMul (MatMul)\n  op      matmul -> float32[5, 4]")
    assert 'composite "dense_relu" with /fc/Relu' in out


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--target", "csorce"], 2, '[BYOC-101] there is no target "csorce"\n  why: did you mean "csource"?'),
        ([*FLAGS, "--pin", "/fc/MatMull=host"], 2,
         '[BYOC-102] the pin "/fc/MatMull=host" matches no op of the model\n  why: did you mean "/fc/MatMul"?'),
        ([*FLAGS, "--pin", "op:Softmx=host"], 2,
         '[BYOC-102] the pin "op:Softmx=host" matches no op of the model\n  why: did you mean "Softmax"?'),
        ([*FLAGS, "--pin", "/Softmax=myacel"], 2,
         '[BYOC-102] the pin "/Softmax=myacel" names the owner "myacel"\n  why: did you mean "myaccel"?'),
        ([*FLAGS, "--pin", "/Softmax=myaccel"], 2, "[BYOC-102] /Softmax cannot be pinned to myaccel"),
        ([*FLAGS, "--option", "myaccel.fast=1"], 2, '[BYOC-103] target "myaccel" has no option "fast"'),
        (["--target", "csource", "--option", "csource.isaa=avx2"], 2,
         '[BYOC-103] target "csource" has no option "isaa"\n  why: did you mean "isa"?'),
        ([*FLAGS, "--option", "csource.isa=avx2"], 2,
         '[BYOC-101] an option is set for "csource", which is not among the targets'),
        ([*FLAGS, "--shape", "z=1,8"], 2, "[BYOC-104] "),
        ([*FLAGS, "--plugin", "gone.py"], 4, "[BYOC-301] plugin gone.py does not exist"),
    ],
)  # fmt: skip
def test_a_wrong_name_is_answered_with_the_nearest_one(
    capsys: pytest.CaptureFixture[str], model: Path, arguments: list[str], code: int, told: str
) -> None:
    assert main(["compile", str(model), *arguments, "--dry-run"]) == code
    error = capsys.readouterr().err
    assert error.startswith(told) and "Traceback" not in error


@pytest.mark.parametrize("content", [None, b"", b"\x08\x07garbage", b"not an onnx model at all"])
def test_what_is_no_model_is_refused_by_name(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "m.onnx"
    if content is not None:
        path.write_bytes(content)
    assert main(["compile", str(path), *FLAGS]) == 3
    error = capsys.readouterr().err
    assert error.startswith("[BYOC-201] ") and "m.onnx" in error and "Traceback" not in error
