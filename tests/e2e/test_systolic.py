"""The worked example: an emulated systolic array takes an int8 model, bit for bit, within its small memories."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from byoc.cli import main

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "systolic"


@pytest.fixture(scope="module")
def target() -> list[str]:
    """Flags that ask for the example, which is imported and not installed."""
    sys.path.insert(0, str(EXAMPLE))
    importlib.import_module("systolic")
    return ["--target", "systolic"]


@pytest.fixture(scope="module")
def resnet(shared_models: Path) -> str:
    return str(shared_models / "cifar10-resnet" / "resnet20_cifar10_qdq_int8.onnx")


def test_partitions_that_overflow_the_weight_memory_are_split_and_all_are_exact(
    capsys: pytest.CaptureFixture[str], target: list[str], resnet: str
) -> None:
    assert main(["verify", resnet, *target, "--json", "--tolerance", "0"]) == 0
    captured = capsys.readouterr()
    assert "its weights take 147456 bytes, the weight memory has 131072" in captured.err
    told = json.loads(captured.out)
    symbols = [part["symbol"] for part in told["partitions"]]
    assert {"systolic_main_2a", "systolic_main_2b"} <= set(symbols)
    assert [part["error"] for part in told["partitions"]] == [0.0] * len(symbols)
    assert [output["max_abs"] for output in told["outputs"]] == [0.0]


def test_by_cost_what_is_not_worth_a_call_stays_on_the_host(
    capsys: pytest.CaptureFixture[str], target: list[str], resnet: str, tmp_path: Path
) -> None:
    def owners(policy: str) -> dict[str, str]:
        file = tmp_path / f"{policy}.json"
        flags = ["--policy", policy, "--shape", "input=1,3,32,32", "--dry-run", "--save-plan", str(file)]
        assert main(["compile", resnet, *target, *flags]) == 0
        ops = json.loads(file.read_text())["functions"][0]["ops"]
        return {op["node"]: op["owner"] for op in ops if op["op"].startswith("byoc.")}

    assert owners("priority")["/linear/Gemm"] == "systolic"
    by_cost = owners("cost")
    assert by_cost["/linear/Gemm"] == "host"  # 640 products; the call alone takes longer
    assert [owner for node, owner in by_cost.items() if node.endswith("/Conv")] == ["systolic"] * 19
    capsys.readouterr()


def test_a_smaller_image_memory_shows_in_the_reason(
    capsys: pytest.CaptureFixture[str], target: list[str], shared_models: Path
) -> None:
    model = str(shared_models / "mobilenetv2-int8" / "mobilenetv2_qat_qdq_int8.onnx")
    assert main(["explain", model, *target, "--json"]) == 0
    told = capsys.readouterr().out
    assert "convolves images, without groups" in told
    assert "bytes of weights do not fit into 131072" in told


def test_it_conforms(tmp_path: Path) -> None:
    plugin = tmp_path / "load_systolic.py"
    plugin.write_text(f"import sys\nsys.path.insert(0, {str(EXAMPLE)!r})\nimport systolic\n")
    command = [sys.executable, "-m", "byoc", "conformance", "--plugin", str(plugin), "--target", "systolic"]
    ran = subprocess.run([*command, "--filter", "quantize", "--json"], capture_output=True, text=True, check=False)
    told = json.loads(ran.stdout)
    assert told["conforms"], [o for o in told["outcomes"] if o["status"] not in ("passed", "refused")]
    passed = {o["case"] for o in told["outcomes"] if o["status"] == "passed"}
    assert "nn.conv2d/between dequantize and quantize, uint8, padding" in passed
    assert "matmul/between dequantize and quantize, uint8" in passed
    assert "add/between dequantize and quantize, int8" in passed
