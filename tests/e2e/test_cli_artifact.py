"""``byoc run`` and ``byoc inspect`` on an artifact that was built by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from onnx import TensorProto, helper, numpy_helper

from byoc.cli import main
from tests.handmade import FACTOR, OFFSET, offset_model, offset_model_reference


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("artifact") / "offset.byoc"
    offset_model().save(path)
    return path


def onnx_twin(path: Path, scale: float = 1.0) -> Path:
    """The same function as a model: y = relu(x @ FACTOR + OFFSET), FACTOR multiplied by `scale`."""
    nodes = [
        helper.make_node("MatMul", ["x", "f"], ["a"]),
        helper.make_node("Add", ["a", "o"], ["b"]),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8])
    weights = [numpy_helper.from_array(FACTOR * np.float32(scale), "f"), numpy_helper.from_array(OFFSET, "o")]
    graph = helper.make_graph(nodes, "twin", [x], [y], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_an_output_is_saved_and_equals_the_reference(
    capsys: pytest.CaptureFixture[str], artifact: Path, tmp_path: Path
) -> None:
    x = np.random.default_rng(0).standard_normal((3, 4), np.float32)
    np.save(tmp_path / "x.npy", x)
    arguments = ["--input", f"x={tmp_path / 'x.npy'}", "--output", f"y={tmp_path / 'y.npy'}"]
    assert main(["run", str(artifact), *arguments]) == 0
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), offset_model_reference(x), rtol=1e-5)
    assert "y       float32  [3, 8]" in capsys.readouterr().out
    assert sorted(file.name for file in tmp_path.iterdir()) == ["x.npy", "y.npy"]


def test_random_inputs_take_the_size_that_shape_asks_for(capsys: pytest.CaptureFixture[str], artifact: Path) -> None:
    assert main(["run", str(artifact), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outputs"] == [{"name": "y", "dtype": "float32", "shape": [1, 8]}]
    assert main(["run", str(artifact), "--shape", "x=5,4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outputs"][0]["shape"] == [5, 8]


def test_agreement_with_onnxruntime_is_printed(
    capsys: pytest.CaptureFixture[str], artifact: Path, tmp_path: Path
) -> None:
    model = onnx_twin(tmp_path / "twin.onnx")
    assert main(["run", str(artifact), "--check-onnxruntime", "--model", str(model), "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)["onnxruntime"]
    assert answer["name"] == "y" and answer["passed"] and answer["max_rel"] < 1e-6


def test_disagreement_with_onnxruntime_ends_with_9(
    capsys: pytest.CaptureFixture[str], artifact: Path, tmp_path: Path
) -> None:
    model = onnx_twin(tmp_path / "other.onnx", scale=1.01)
    assert main(["run", str(artifact), "--check-onnxruntime", "--model", str(model)]) == 9
    assert "DIFFERS" in capsys.readouterr().out
    assert main(["run", str(artifact), "--check-onnxruntime", "--model", str(model), "--tolerance", "0.1"]) == 0


def test_the_model_of_another_artifact_is_noticed_by_its_outputs(
    capsys: pytest.CaptureFixture[str], artifact: Path, tmp_path: Path
) -> None:
    model = onnx.load(onnx_twin(tmp_path / "twin.onnx"))
    model.graph.node[-1].output[0] = model.graph.output[0].name = "z"
    onnx.save(model, tmp_path / "z.onnx")
    assert main(["run", str(artifact), "--check-onnxruntime", "--model", str(tmp_path / "z.onnx")]) == 3
    assert "has no output y\n  why: the artifact was compiled from another model" in capsys.readouterr().err


def test_comparing_without_a_model_says_which_flag_is_missing(
    capsys: pytest.CaptureFixture[str], artifact: Path
) -> None:
    assert main(["run", str(artifact), "--check-onnxruntime"]) == 2
    assert "do:  add --model model.onnx" in capsys.readouterr().err


def test_repeated_runs_are_timed(capsys: pytest.CaptureFixture[str], artifact: Path) -> None:
    assert main(["run", str(artifact), "--repeat", "3", "--threads", "1", "--json"]) == 0
    seconds = json.loads(capsys.readouterr().out)["seconds"]
    assert seconds["runs"] == 3 and 0 < seconds["fastest"] <= seconds["median"]


def test_another_entry_function_is_called_by_name(capsys: pytest.CaptureFixture[str], artifact: Path) -> None:
    assert main(["run", str(artifact), "--entry", "twice", "--json"]) == 0
    outputs = json.loads(capsys.readouterr().out)["outputs"]
    assert [output["name"] for output in outputs] == ["doubled", "same", "offset"]
    assert main(["run", str(artifact), "--entry", "twise"]) == 2
    assert 'no entry function "twise"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--input", "z=a.npy"], '[BYOC-105] the artifact has no input "z"\n  do:  known: x.'),
        (["--output", "yy=a.npy"], '[BYOC-105] the artifact has no output "yy"\n  do:  did you mean "y"?'),
        (["--input", "x=gone.npy"], '[BYOC-105] the file gone.npy for input "x" does not exist'),
        (["--input", "x=a.npy", "--input", "x=b.npy"], '[BYOC-105] --input gives "x" twice\n  why: once a.npy'),
        (["--output", "y=/no/such/y.npy"], "[BYOC-100] cannot write /no/such/y.npy"),
        (["--shape", "x=1,5"], '[BYOC-104] input "x" has a dimension of 5 where 4 is needed'),
    ],
)
def test_wrong_names_files_and_shapes_are_refused(
    capsys: pytest.CaptureFixture[str], artifact: Path, arguments: list[str], told: str
) -> None:
    assert main(["run", str(artifact), *arguments]) == 2
    assert capsys.readouterr().err.startswith(told)


def test_an_input_of_a_wrong_dtype_is_refused(
    capsys: pytest.CaptureFixture[str], artifact: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 4)))
    assert main(["run", str(artifact), "--input", f"x={tmp_path / 'x.npy'}"]) == 2
    assert capsys.readouterr().err.startswith('[BYOC-105] input "x" is float64, float32 is expected')


def test_inspect_shows_what_the_artifact_holds(capsys: pytest.CaptureFixture[str], artifact: Path) -> None:
    assert main(["inspect", str(artifact)]) == 0
    out = capsys.readouterr().out
    assert "  in   x: float32[n, 4]\n  out  y: float32[n, 8]" in out
    assert "add_offset  handmade" in out and "library.so" in out
    assert out.endswith("runs here: yes\n")


def test_inspect_says_why_an_artifact_cannot_run_here(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    here = offset_model()
    path = tmp_path / "elsewhere.byoc"
    replace(here, manifest=replace(here.manifest, architecture="riscv64")).save(path)
    assert main(["inspect", str(path)]) == 0
    assert "runs here: no\n  it is for riscv64 processors; this is " in capsys.readouterr().out
    assert main(["inspect", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["runs_here"] is False and document["manifest"]["architecture"] == "riscv64"
    assert main(["run", str(path)]) == 7
    assert "cannot run here" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, b"", b"garbage"])
def test_what_is_no_artifact_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "m.byoc"
    if content is not None:
        path.write_bytes(content)
    for verb in ("run", "inspect", "explain"):
        assert main([verb, str(path)]) == 7
        error = capsys.readouterr().err
        assert error.startswith("[BYOC-600]") and str(path) in error and "Traceback" not in error


def test_a_compiled_model_is_signed_and_run_only_with_its_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("own", "other"):
        key = Ed25519PrivateKey.generate()
        pem = serialization.Encoding.PEM
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (tmp_path / f"{name}.pem").write_bytes(private)
        public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / f"{name}.pub").write_bytes(public)
    model, path = str(onnx_twin(tmp_path / "twin.onnx")), str(tmp_path / "m.byoc")
    assert main(["compile", model, "--target", "host", "-o", path, "--sign", str(tmp_path / "own.pem")]) == 0
    assert main(["run", path, "--verify-key", str(tmp_path / "own.pub")]) == 0
    capsys.readouterr()
    assert main(["inspect", path, "--verify-key", str(tmp_path / "own.pub")]) == 0
    assert f"signed: by the owner of {tmp_path / 'own.pub'}" in capsys.readouterr().out
    monkeypatch.setenv("BYOC_VERIFY_KEY", str(tmp_path / "other.pub"))
    for verb in ("run", "inspect", "profile", "generate"):
        assert main([verb, path]) == 7
        assert capsys.readouterr().err.startswith("[BYOC-601] the artifact")
