"""``byoc bench-llm``, and the file that llama.cpp gets."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from byoc.artifact import read_manifest
from byoc.cli import main
from tests.language_models import make_folder, reference_logits

QUICK = ["--contexts", "4,16", "--steps", "2", "--rounds", "2", "--prefill-rounds", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny"
    make_folder(path)
    return path


@pytest.fixture(scope="module")
def artifact(folder: Path) -> Path:
    path = folder.parent / "tiny.byoc"
    assert main(["compile", str(folder), "-t", "csource", "--kv", "k8v8:g8", "--chunk", "8", "-o", str(path)]) == 0
    return path


def answer(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["bench-llm", *(str(a) for a in arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_it_tells_the_rates_of_every_context(capsys: pytest.CaptureFixture[str], artifact: Path) -> None:
    code, out, err = answer(capsys, artifact, *QUICK, "--json")
    assert code == 0, err
    told = json.loads(out)
    assert [(t["engine"], t["context"], t["error"]) for t in told["timings"]] == [
        ("byoc k8v8:g8", 4, ""), ("byoc k8v8:g8", 16, "")
    ]  # fmt: skip
    for timing in told["timings"]:
        assert len(timing["prefill"]) == 1 and len(timing["decode"]) == 2
        assert timing["decode_tokens_per_second"] == pytest.approx(2 / sum(timing["decode"]), rel=0.9)
    weights = sum(w.nbytes for w in read_manifest(artifact).weights) - 4 * 40 * 32  # but the embedding
    cache = 2 * 2 * 2 * (8 + 4)  # layers, heads, keys and values; eight bytes, scale and minimum for a token
    assert told["timings"][1]["step_bytes"] == weights + 16 * cache
    assert told["read_bytes_per_second"] > 1e8


def test_the_table_names_engine_and_floor(capsys: pytest.CaptureFixture[str], artifact: Path) -> None:
    code, out, _ = answer(capsys, artifact, *QUICK)
    assert code == 0
    assert out.split("\n")[0].split("  ")[0] == "context" and "byoc k8v8:g8" in out and "GB/s" in out


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--contexts", "4,x"], '[BYOC-100] --contexts "4,x" is no list of numbers of tokens\n'),
        (["--contexts", "64"], "[BYOC-100] {artifact} holds 64 tokens, measuring takes 96\n"),
        (["--contexts", "4", "--llama-cpp", "x", "--llama-kv", "q3"], 'llama.cpp has no cache of the type "q3"\n'),
    ],
)
def test_a_wrong_call_is_told(capsys: pytest.CaptureFixture[str], artifact: Path, flags: list[str], says: str) -> None:
    code, out, err = answer(capsys, artifact, *flags)
    assert (code, out) == (2, "") and says.format(artifact=artifact) in err


def test_without_the_package_llama_cpp_is_refused(
    capsys: pytest.CaptureFixture[str], artifact: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    code, _, err = answer(capsys, artifact, *QUICK, "--llama-cpp", folder)
    assert code == 6 and err.startswith("[BYOC-500] llama.cpp runs through the package llama-cpp-python\n")


def test_an_engine_that_dies_is_a_row_with_its_error(artifact: Path, tmp_path: Path) -> None:
    from byoc.llm.bench.engine import EngineSpec
    from byoc.llm.bench.rounds import Effort, measure

    (tmp_path / "cut.byoc").write_bytes(artifact.read_bytes()[:1000])
    specs = [EngineSpec("byoc", str(p), p.stem, 1, 64) for p in (tmp_path / "cut.byoc", artifact)]
    bad, good = next(measure(specs, 40, Effort((4,), 2, 1, 1)))
    assert bad.error.startswith("ArtifactError: ") and bad.decode_rate is None
    assert good.error == "" and good.decode_rate


@pytest.mark.parametrize(
    "changes", [{}, {"rope_scaling": {"type": "linear", "factor": 2.0}}, {"num_attention_heads": 2}]
)
def test_llama_cpp_computes_the_same_model(changes: dict, tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason='needs the rival: pip install -e ".[llama-cpp]"')
    pytest.importorskip("llama_cpp", reason='needs the rival: pip install -e ".[llama-cpp]"')
    import byoc
    from byoc.llm import LanguageSession, Settings, language_model, parse_kv
    from byoc.llm.bench.engine import EngineSpec
    from byoc.llm.bench.gguf_file import write_gguf
    from byoc.llm.bench.llama_cpp import LlamaCpp

    tensors = make_folder(tmp_path / "m", **changes)
    rival = LlamaCpp(EngineSpec("llama.cpp", str(write_gguf(tmp_path / "m", tmp_path / "m.gguf", 32)), "f32", 1, 64))
    tokens = [1, 5, 9, 30, 2, 7, 7, 11, 39, 0]
    rival.read(tokens)
    found = np.array(rival.last_logits())
    model = language_model(tmp_path / "m", Settings(kv=parse_kv("k32v32", 2)))
    ours = LanguageSession(byoc.compile(model, use_cache=False).session()).prefill(tokens)[0]
    assert np.abs(found - ours).max() < 2e-3 * np.abs(ours).max()
    if not changes:
        assert np.abs(found - reference_logits(tensors, tokens)[-1]).max() < 2e-3 * np.abs(ours).max()
