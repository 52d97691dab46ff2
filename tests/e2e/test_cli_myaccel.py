"""A codegen in a package of its own: installed, asked for by name, and not needed any more to run the artifact."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.vendor_package import byoc_command, install_example


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the vendor's package."""
    return install_example("myaccel", tmp_path_factory.mktemp("vendor"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dense layers, the first with a Relu, then a Softmax."""
    generator = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(generator.standard_normal(shape, np.float32), name)
        for name, shape in (("w1", (8, 16)), ("w2", (16, 4)))
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"], name="/fc1/MatMul"),
        helper.make_node("Relu", ["a"], ["b"], name="/fc1/Relu"),
        helper.make_node("MatMul", ["b", "w2"], ["c"], name="/fc2/MatMul"),
        helper.make_node("Softmax", ["c"], ["y"], name="/Softmax"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [5, 4])
    graph = helper.make_graph(nodes, "mlp", [x], [y], weights)
    path = tmp_path_factory.mktemp("model") / "mlp.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_the_installed_package_is_listed_as_a_target(vendor: Path) -> None:
    targets = json.loads(byoc_command("targets", "--json", packages=vendor).stdout)["targets"]
    (found,) = (target for target in targets if target["name"] == "myaccel")
    assert (found["version"], found["available"]) == ("1.0", True)
    assert found["description"] == "A matrix multiplier that is driven by library calls."


def test_without_the_package_the_target_is_unknown(model: Path) -> None:
    done = byoc_command("compile", model, "--target", "myaccel", "--dry-run")
    assert done.returncode == 2 and done.stderr.startswith('[BYOC-101] there is no target "myaccel"')


def test_a_model_is_compiled_for_it_and_runs_in_a_process_without_it(vendor: Path, model: Path, tmp_path: Path) -> None:
    artifact, x_file, y_file = tmp_path / "mlp.byoc", tmp_path / "x.npy", tmp_path / "y.npy"
    done = byoc_command("compile", model, "--target", "myaccel", "-o", artifact, "--cache-dir", tmp_path / "cache",
                packages=vendor)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("myaccel 2/4 ops (")

    x = np.random.default_rng(1).standard_normal((5, 8), np.float32)
    np.save(x_file, x)
    ran = byoc_command("run", artifact, "--input", f"x={x_file}", "--output", f"y={y_file}")
    assert ran.returncode == 0, ran.stderr
    (want,) = onnxruntime.InferenceSession(model).run(None, {"x": x})
    np.testing.assert_allclose(np.load(y_file), want, rtol=1e-4, atol=1e-6)


def test_explain_repeats_the_vendors_own_words(vendor: Path, model: Path) -> None:
    done = byoc_command("explain", model, "--target", "myaccel", "--json", packages=vendor)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [owner["ops"] for owner in document["coverage"]] == [2, 2]
    assert {row["first_node"] for row in document["host"]} == {"/fc2/MatMul", "/Softmax"}
    assert all(row["reason"] for row in document["host"])
