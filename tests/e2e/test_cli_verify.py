"""``byoc verify``: which partition is wrong, which composite in it, and a bundle that shows it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from byoc.cli import main
from tests.golden import golden
from tests.language_models import make_folder

# Right but for windows of 3, of which it leaves out the last row.
POOLING = '''
from byoc import Codegen, op, register_codegen

@register_codegen("sloppy", version="1")
class Sloppy(Codegen):
    """Pools, and clamps at zero."""
    patterns = {"relu": op("nn.relu")("x"), "pool": op("nn.max_pool2d")("x")}

    def emit_match(self, m):
        if m.pattern == "relu":
            return f"for (int64_t i = 0; i < {m.out.size}; ++i) {m.out}[i] = {m['x']}[i] > 0 ? {m['x']}[i] : 0;"
        batch, channels, height, width = m["x"].shape
        _, _, rows, columns = m.out.shape
        window, stride = m.out.attrs["pool_size"], m.out.attrs["strides"][0]
        used = window[0] - (window[0] == 3)
        return f"""for (int64_t c = 0; c < {batch * channels}; ++c)
  for (int64_t i = 0; i < {rows}; ++i)
    for (int64_t j = 0; j < {columns}; ++j) {{
      float most = -1e30f;
      for (int64_t u = 0; u < {used}; ++u)
        for (int64_t v = 0; v < {window[1]}; ++v) {{
          float x = {m["x"]}[(c * {height} + i * {stride} + u) * {width} + j * {stride} + v];
          if (x > most) most = x;
        }}
      {m.out}[(c * {rows} + i) * {columns} + j] = most;
    }}"""
'''


@pytest.fixture(scope="module")
def mnist(shared_models: Path) -> str:
    return str(shared_models / "mnist-models" / "wonnx_opt-mnist.onnx")


@pytest.fixture(scope="module")
def sloppy(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    plugin = tmp_path_factory.mktemp("plugin") / "sloppy.py"
    plugin.write_text(POOLING)
    return ["--plugin", str(plugin), "--target", "sloppy"]


def test_a_right_codegen_passes_by_partition_and_end_to_end(
    capsys: pytest.CaptureFixture[str], shared_models: Path
) -> None:
    model = str(shared_models / "ultraface" / "version-RFB-320_without_postprocessing.onnx")
    assert main(["verify", model, "--target", "csource", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [p["passed"] for p in told["partitions"]] == [True] * len(told["partitions"]) != []
    assert 0 < told["partitions"][0]["error"] < 1e-5  # no two orders of summation agree to the last bit
    assert all(p["cosine"] > 0.999999 and float(p["snr"]) > 80 for p in told["partitions"])
    assert [d["passed"] for d in told["outputs"]] == [True, True]
    assert all(d["max_rel"] < 1e-4 for d in told["onnxruntime"])


def without_rounding(text: str) -> str:
    """Figures within tolerance, which sums in another order change, as ``#``; a cosine's first digits; no widths."""
    text = re.sub(r"(\S+ +){4}(?=\S+ +ok$)", "# ", text, flags=re.MULTILINE)
    text = re.sub(r"\b(0\.\d{4})\d{4}\b", r"\1", text)
    return re.sub(r"-+", "-", re.sub(r" +", " ", text))


def test_the_tables_of_a_right_codegen_are_these(capsys: pytest.CaptureFixture[str], mnist: str) -> None:
    assert main(["verify", mnist, "--target", "csource", "--pin", "op:MaxPool=host", "--bisect"]) == 0
    assert without_rounding(capsys.readouterr().out) == golden("verify-mnist.txt")


def test_a_wrong_partition_is_found_and_narrowed_to_its_composite(
    capsys: pytest.CaptureFixture[str], mnist: str, sloppy: list[str]
) -> None:
    assert main(["verify", mnist, *sloppy, "--bisect"]) == 9
    assert without_rounding(capsys.readouterr().out) == golden("verify-mnist-wrong-pool.txt")


def test_a_later_partition_does_not_inherit_an_error(
    capsys: pytest.CaptureFixture[str], mnist: str, sloppy: list[str]
) -> None:
    pins = ["--pin", "Pooling160=host", "--pin", "ReLU114=host", "--pin", "Pooling66=host"]
    assert main(["verify", mnist, *sloppy, *pins, "--json"]) == 0
    capsys.readouterr()
    assert main(["verify", mnist, "--plugin", sloppy[1], "--target", "sloppy,csource", "--json"]) == 9
    told = json.loads(capsys.readouterr().out)
    errors = {p["symbol"]: p["error"] for p in told["partitions"]}
    assert [symbol for symbol, error in errors.items() if error > 1e-4] == ["sloppy_main_3"]
    assert told["outputs"][0]["passed"] is False


def test_a_bundle_shows_the_fault_by_itself(
    capsys: pytest.CaptureFixture[str], mnist: str, sloppy: list[str], tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    assert main(["verify", mnist, *sloppy, "--bundle", str(bundle)]) == 9
    assert capsys.readouterr().out.splitlines()[-1] == f"wrote partition sloppy_main_1 to {bundle}"
    assert sorted(str(f.relative_to(bundle)) for f in bundle.rglob("*") if f.is_file()) == [
        "golden/00_result_0.npy", "inputs/00_gv5.npy", "partition.byoc", "partition.json", "partition.txt", "run.py",
        "sloppy_main_1.c",
    ]  # fmt: skip
    excerpt = json.loads((bundle / "partition.json").read_text())
    assert excerpt["codegen"] == {"name": "sloppy", "version": "1", "options": {}}
    assert [c["pattern"] for c in excerpt["composites"]] == ["relu", "pool"]
    ran = subprocess.run([sys.executable, bundle / "run.py"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.split()[-1]) == (9, "DIFFERS"), ran.stderr
    tolerant = subprocess.run([sys.executable, bundle / "run.py", "2"], capture_output=True, text=True, check=False)
    assert (tolerant.returncode, tolerant.stdout.split()[-1]) == (0, "ok")
    assert main(["verify", mnist, *sloppy, "--bundle", str(bundle)]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_an_artifact_is_verified_against_the_model_it_was_compiled_from(
    capsys: pytest.CaptureFixture[str], mnist: str, shared_models: Path, tmp_path: Path
) -> None:
    artifact = tmp_path / "m.byoc"
    assert main(["compile", mnist, "--target", "csource", "-o", str(artifact), "--no-cache"]) == 0
    assert main(["verify", str(artifact), "--model", mnist]) == 0
    assert main(["verify", str(artifact)]) == 2
    assert "add --model model.onnx" in capsys.readouterr().err
    other = str(shared_models / "ultraface" / "version-RFB-320_simplified.onnx")
    assert main(["verify", str(artifact), "--model", other]) in (2, 5)


def test_symbolic_shapes_are_verified_at_the_sizes_of_the_inputs(
    capsys: pytest.CaptureFixture[str], shared_models: Path
) -> None:
    model = str(shared_models / "super_resolution" / "super_resolution.onnx")
    assert main(["verify", model, "--target", "csource", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["outputs"][0]["shape"] == [1, 1, 672, 672]


@pytest.fixture(scope="module")
def language_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("models") / "tiny"
    make_folder(path, vocab_size=64, num_hidden_layers=1)
    return str(path)


LANGUAGE = ["--kv", "k32v32", "--context", "32", "--chunk", "8", "--entry", "decode"]


@pytest.mark.parametrize("entry", ["prefill", "decode"])
def test_a_language_model_is_verified_in_the_middle_of_a_sequence(
    capsys: pytest.CaptureFixture[str], shared_models: Path, entry: str
) -> None:
    model = str(shared_models / "byte-llama")
    flags = ["--kv", "k8v4", "--context", "64", "--chunk", "16", "--entry", entry]
    assert main(["verify", model, "--target", "csource", *flags, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    results = told["partitions"][0]["results"]
    assert [r["name"] for r in results] == [
        "result 0",
        *(f"cache {n}.{i}" for i in range(4) for n in ("keys", "values")),
    ]
    assert all(r["passed"] for r in results)
    assert {r["dtype"] for r in results} == {"float32"} and results[2]["shape"] == [1, 2, 64, 32]
    assert 0.02 < results[2]["tolerance"] < 0.2  # one of the 15 steps of a 4-bit cache
    assert told["outputs"][0]["max_rel"] < {"prefill": 1e-5, "decode": 5e-5}[entry]  # a step rounds to sixteen bits


def test_an_append_to_the_wrong_place_is_found_in_the_cache_and_named(
    capsys: pytest.CaptureFixture[str], language_folder: str, tmp_path: Path
) -> None:
    mutant = ["--plugin", str(Path(__file__).parents[1] / "codegens" / "mutants.py"), "--target", "mutant"]
    right = ["verify", language_folder, *mutant, "--pin", "op:Add=host", *LANGUAGE, "--json"]
    assert main(right) == 0
    capsys.readouterr()
    wrong = ["--option", "mutant.fault=forgets what the cache holds"]
    assert main([*right, *wrong, "--bisect", "--bundle", str(tmp_path / "bundle")]) == 9
    told = json.loads(capsys.readouterr().out)
    bad = [(r["name"], p["first_node"]) for p in told["partitions"] for r in p["results"] if not r["passed"]]
    named = [("cache keys.0", "layers.0/attention/k_append"), ("cache values.0", "layers.0/attention/v_append")]
    assert sorted(bad) == sorted(named)
    assert sorted(c["nodes"][0] for c in told["bisected"]) == sorted(node for _, node in named)
    assert told["outputs"][0]["passed"] is False
    written = sorted(str(f.relative_to(tmp_path)) for f in (tmp_path / "bundle").rglob("*") if f.is_file())
    assert "bundle/run.py" not in written and any("golden/00_cache" in name for name in written)
    note = json.loads((tmp_path / "bundle" / "partition.json").read_text())["note"]
    assert note.startswith("the partition updates states")
