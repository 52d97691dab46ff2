"""Language models on the command line: compile, inspect, explain, viz, generate."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file

import byoc.llm
from benchmarks.stories import StoryTokenizer, convert
from byoc.cli import main
from tests.imported import make_model, node
from tests.language_models import byte_tokenizer, make_folder, reference_logits


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny"
    make_folder(path, vocab_size=256, eos_token_id=None)
    (path / "tokenizer.json").write_bytes(byte_tokenizer())
    return path


@pytest.fixture(scope="module")
def artifact(folder: Path) -> Path:
    path = folder.parent / "tiny.byoc"
    flags = ["--kv", "k8v8:g8", "--weights", "rtn8:g8", "--context", "48", "--chunk", "4", "--batch", "1"]
    assert main(["compile", str(folder), "-t", "csource", *flags, "-o", str(path)]) == 0
    return path


def answer(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def sequence(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    code, out, err = answer(capsys, "generate", *arguments, "--json")
    assert code == 0, err
    return json.loads(out)["sequences"][0]


def test_inspect_says_what_the_language_model_is(capsys: pytest.CaptureFixture[str], artifact: Path) -> None:
    code, out, _ = answer(capsys, "inspect", artifact)
    assert code == 0
    assert "language model LlamaForCausalLM, 2 layers, 256 tokens, with a tokenizer" in out
    assert "context 48, chunk 4, batch 1, weights rtn8:g8" in out
    region = 48 * 8 + 128 + 128  # integers; 48 scales and 48 minima of two bytes, filled up to 64
    assert 2 * 2 * 2 * region == 5 * 1024  # layers, heads, keys and values
    assert "caches k8v8:g8, 5 KiB" in out
    assert "tokenizer.json" in out


def test_text_streams_to_stdout_and_its_speed_to_stderr(capsys: pytest.CaptureFixture[str], artifact: Path) -> None:
    code, out, err = answer(capsys, "generate", artifact, "-p", "abc", "--max-tokens", 6)
    whole = sequence(capsys, artifact, "-p", "abc", "--max-tokens", 6)
    assert code == 0 and out == whole["text"] + "\n"
    assert err.startswith("3 tokens read in") and err.endswith("; --max-tokens reached\n")
    assert len(whole["ids"]) == 6 and whole["stopped"] == "--max-tokens reached"


def test_ids_in_give_ids_out(capsys: pytest.CaptureFixture[str], artifact: Path) -> None:
    wanted = sequence(capsys, artifact, "-p", "abc", "--max-tokens", 5)["ids"]
    _, out, _ = answer(capsys, "generate", artifact, "--ids", "97,98,99", "--max-tokens", 5)
    assert [int(i) for i in out.split()] == wanted


def test_a_prompt_may_come_from_a_file(capsys: pytest.CaptureFixture[str], artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("abc")
    wanted = sequence(capsys, artifact, "-p", "abc", "--max-tokens", 5)
    assert sequence(capsys, artifact, "--file", tmp_path / "p.txt", "--max-tokens", 5)["ids"] == wanted["ids"]


def test_a_seed_draws_the_same_tokens_again(capsys: pytest.CaptureFixture[str], artifact: Path) -> None:
    drawn = [
        sequence(capsys, artifact, "-p", "abc", "--max-tokens", 12, "--temperature", 2, "--seed", seed)["ids"]
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_stop_text_ends_it(capsys: pytest.CaptureFixture[str], artifact: Path) -> None:
    drawing = ("-p", "abc", "--max-tokens", 40, "--temperature", 1, "--top-k", 200, "--top-p", 0.99)
    whole = sequence(capsys, artifact, *drawing)["text"]
    stop = whole[5:7]
    cut = sequence(capsys, artifact, *drawing, "--stop", stop)
    assert cut["stopped"] == "a stop text came" and cut["text"] == whole[: whole.index(stop)]


def test_it_ends_where_the_context_is_full(capsys: pytest.CaptureFixture[str], artifact: Path) -> None:
    found = sequence(capsys, artifact, "-p", "a" * 40, "--max-tokens", 100)
    assert found["stopped"] == "the context is full" and len(found["ids"]) == 9


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, '[BYOC-100] no prompt is given\n  do:  give one with -p "TEXT", --file FILE or --ids 1,2,3\n'),
        (["--ids", "1,x"], 2, '[BYOC-100] --ids "1,x" is no list of token ids\n  do:  write it as --ids 1,2,3\n'),
        (["--ids", ""], 2, "[BYOC-105] sequence 0 has no tokens\n"),
        (["--ids", "256"], 2, "[BYOC-105] token 256 of sequence 0 is not in the vocabulary\n  why: ids are 0 to 255\n"),
        (["-p", "a", "-p", "b"], 2, "[BYOC-105] 2 sequences are given, the model was compiled for 1\n"),
        (["-p", "a" * 49], 2, "[BYOC-105] sequence 0 would have 49 tokens, its caches hold 48\n"),
        (["--ids", "1", "--stop", "x"], 2, "[BYOC-100] --stop needs text\n"),
        (["-p", "a", "--top-p", "0"], 2, "[BYOC-100] top-p is 0.0\n"),
        (["--file", "nowhere.txt"], 2, "[BYOC-100] prompt nowhere.txt does not exist\n"),
    ],
)
def test_a_wrong_call_of_generate_is_told(
    capsys: pytest.CaptureFixture[str], artifact: Path, arguments: list[str], code: int, says: str
) -> None:
    found, out, err = answer(capsys, "generate", artifact, *arguments)
    assert (found, out) == (code, "") and err.startswith(says)


def test_an_artifact_without_a_language_model_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from tests.handmade import offset_model

    offset_model().save(tmp_path / "m.byoc")
    code, _, err = answer(capsys, "generate", tmp_path / "m.byoc", "-p", "a")
    assert code == 2 and err.startswith("[BYOC-100] the artifact holds no language model\n")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--kv", "k3v4"], '[BYOC-100] "k3v4": a cache of 3 bits does not exist\n'),
        (["--kv", "k4v4:g32"], "[BYOC-100] keys cannot be kept in groups of 32: a head has 8 channels\n"),
        (["--kv", "k4v4:g8;7=k8v8:g8"], '[BYOC-100] "7=k8v8:g8" in "k4v4:g8;7=k8v8:g8" names no layers of the model\n'),
        (["--weights", "int3"], '[BYOC-100] "int3" is no format of weights\n'),
        (["--weights", "awq4:g8", "--kv", "k8v8:per-tensor"], "[BYOC-100] awq4:g8 and k8v8:per-tensor need a calibr"),
        (["--kv", "k8v8:per-tensor"], "[BYOC-100] k8v8:per-tensor needs a calibration text\n"),
        (["--weights", "awq4:g8", "--calibrate", "no.txt"], "[BYOC-106] no.txt cannot be read: No such file or direc"),
        (["--weights", "rtn4:g7"], "[BYOC-100] weights of 32 inputs cannot be kept in groups of 7\n"),
    ],
)
def test_flags_that_do_not_fit_the_model_are_told(
    capsys: pytest.CaptureFixture[str], folder: Path, flags: list[str], says: str
) -> None:
    code, _, err = answer(capsys, "explain", folder, "-t", "csource", *flags)
    assert code == 2 and err.startswith(says)


def test_a_group_is_halved_in_layers_whose_inputs_it_does_not_divide(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    make_folder(tmp_path / "m", hidden_size=32, intermediate_size=48, vocab_size=40)
    flags = ["--weights", "rtn4:g32", "--kv", "k16v16"]
    code, _, err = answer(capsys, "compile", tmp_path / "m", "-t", "csource", *flags, "-o", tmp_path / "m.byoc")
    assert code == 0, err
    found = sequence(capsys, tmp_path / "m.byoc", "--ids", "1,5,9", "--max-tokens", 4)["ids"]
    from byoc.llm.weights import round_to_nearest
    from byoc.ops.linear import unpack

    rounded = load_file(tmp_path / "m" / "model.safetensors")
    for name, array in rounded.items():
        if name.endswith("_proj.weight") or name == "lm_head.weight":
            packed = round_to_nearest(array, 4, 16 if "down" in name else 32)  # 48 inputs come down
            rounded[name] = unpack(packed.packed, packed.scale, packed.zero, 4)
    logits = reference_logits(rounded, [1, 5, 9, *found])
    assert found == logits[2:-1].argmax(-1).tolist()


def test_a_calibration_text_chooses_the_same_weights_and_scales_again(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text("The quick brown fox jumps over the lazy dog. " * 20)
    flags = ["--weights", "awq4:g8", "--kv", "k8v8:per-tensor", "--calibrate", tmp_path / "text.txt"]
    paths = [tmp_path / "a.byoc", tmp_path / "b.byoc"]
    for path in paths:
        code, _, err = answer(
            capsys, "compile", folder, "-t", "csource", *flags, "--context", 48, "--no-cache", "-o", path
        )
        assert code == 0, err
    # TVM's shape functions of symbolic models may differ in an instruction, so that libraries are not compared.
    one, two = (zipfile.ZipFile(path) for path in paths)
    for member in ("weights.bin", "plan.json"):
        assert one.read(member) == two.read(member)
    facts = [json.loads(a.read("manifest.json"))["language_model"] for a in (one, two)]
    assert facts[0] == facts[1] and facts[0]["calibration"]["tokens"] == 900
    _, out, _ = answer(capsys, "inspect", paths[0])
    assert "weights awq4:g8, calibrated on 900 tokens" in out and "caches k8v8:per-tensor" in out
    assert len(sequence(capsys, paths[0], "-p", "abc", "--max-tokens", 5)["ids"]) == 5


def test_awq_without_a_text_reads_one_of_byoc_s_own(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    code, _, err = answer(capsys, "compile", folder, "-t", "csource", "--weights", "awq4:g8", "-o", tmp_path / "m.byoc")
    assert code == 0 and err.startswith("awq4:g8 is calibrated on a text of byoc's own; --calibrate FILE takes one")
    with zipfile.ZipFile(tmp_path / "m.byoc") as file:
        facts = json.loads(file.read("manifest.json"))["language_model"]
    assert facts["weights"] == "awq4:g8" and facts["calibration"]["tokens"] > 10_000


def test_awq_without_a_text_and_a_tokenizer_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    make_folder(tmp_path / "m")
    code, _, err = answer(capsys, "explain", tmp_path / "m", "-t", "csource", "--weights", "awq4:g8")
    assert code == 2 and err.startswith("[BYOC-100] awq4:g8 needs a calibration text\n")


def test_flags_of_language_models_are_refused_for_models_without_a_past(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(make_model([node("Relu", "x")], {"x": ("float32", [2, "n"])}), path)
    code, _, err = answer(capsys, "explain", path, "-t", "csource", "--kv", "k4v4", "--chunk", 8)
    assert code == 3
    assert err == (
        '[BYOC-203] the input "x" is none that a session of a language model gives\n'
        "  why: it gives token ids, positions, a mask, and keys and values of the past\n"
        "  do:  compile the model without --kv and --context\n"
    )
    code, _, err = answer(capsys, "explain", path, "-t", "csource", "--calibrate", tmp_path / "text.txt")
    assert code == 2 and err.startswith("[BYOC-100] --calibrate is for folders with config.json and safetensors\n")


def test_an_onnx_model_with_a_past_generates_the_tokens_of_its_folder(
    capsys: pytest.CaptureFixture[str], shared_models: Path, tmp_path: Path
) -> None:
    stories = shared_models / "stories260K"
    folder = convert(stories / "stories260K.bin", tmp_path / "folder")
    prompt = ",".join(map(str, StoryTokenizer(stories / "tok512.bin").encode("Once upon a time")))
    found = []
    for source in (stories / "stories260K_kvcache.onnx", folder):
        flags = ["--kv", "k8v8:g8", "--context", "64", "--chunk", "16", "-o", tmp_path / "m.byoc"]
        code, _, err = answer(capsys, "compile", source, "-t", "csource", *flags)
        assert code == 0, err
        found.append(sequence(capsys, tmp_path / "m.byoc", "--ids", prompt, "--max-tokens", 24)["ids"])
    assert found[0] == found[1][: len(found[0])] and len(found[0]) == 24


def test_a_folder_without_a_model_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = answer(capsys, "compile", tmp_path, "-t", "csource")
    assert code == 2 and err.startswith(f"[BYOC-100] the folder {tmp_path} holds no model\n")


def test_explain_and_viz_take_the_folder(capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path) -> None:
    flags = ["-t", "csource", "--kv", "k8v8:g8"]
    code, out, _ = answer(capsys, "explain", folder, *flags)
    assert code == 0 and "decode/0" in out and "prefill/0" in out
    code, out, _ = answer(capsys, "explain", folder, "layers.0/attention/attend", *flags)
    assert code == 0 and "byoc.kv_attention" in out
    code, _, _ = answer(capsys, "viz", folder, *flags, "-o", tmp_path / "plan.html")
    assert code == 0 and "layers.1/mlp/swiglu" in (tmp_path / "plan.html").read_text()


def test_rows_that_ended_wait_for_the_others(folder: Path, tmp_path: Path) -> None:
    from byoc.llm import LanguageSession, Settings, language_model, parse_kv

    model = language_model(folder, Settings(kv=parse_kv("k32v32", 2), batch=2, context=32))
    session = LanguageSession(byoc.compile(model, use_cache=False).session())
    free = np.array(list(session.generate([[5, 6], [7]], max_tokens=6, end=[])))
    assert free.shape == (6, 2) and session.lengths.tolist() == [7, 6]
    session.reset()
    end = int(free[1, 0])
    cut = np.array(list(session.generate([[5, 6], [7]], max_tokens=6, end=[end])))
    stop = [int(np.flatnonzero(np.append(free[:, b], end) == end)[0]) for b in (0, 1)]
    for b in (0, 1):
        assert cut[: stop[b] + 1, b].tolist() == free[: stop[b] + 1, b].tolist()[: len(cut)]
        assert (cut[stop[b] + 1 :, b] == -1).all()


@pytest.mark.parametrize("name", ["byte-llama", "needle-llama", "stories260K"])
def test_trained_models_generate_the_tokens_of_the_reference(
    capsys: pytest.CaptureFixture[str], shared_models: Path, tmp_path: Path, name: str
) -> None:
    folder, path = shared_models / name, tmp_path / "m.byoc"
    if name == "stories260K":
        folder = convert(folder / "stories260K.bin", tmp_path / name)
    flags = ["--kv", "k32v32", "--context", "128"]
    assert answer(capsys, "compile", folder, "-t", "csource", *flags, "-o", path)[0] == 0
    if name == "byte-llama":
        prompt = list(b"Dorothy went to the ")
        given = ("-p", bytes(prompt).decode())
    else:
        stories = StoryTokenizer(shared_models / "stories260K" / "tok512.bin")
        needles = np.load(shared_models / "needle-llama" / "eval.npz")["ids_256"][0, :40]
        prompt = [int(i) for i in needles] if name == "needle-llama" else stories.encode("Once upon a time")
        given = ("--ids", ",".join(map(str, prompt)))
    found = sequence(capsys, path, *given, "--max-tokens", 24)["ids"]
    config = json.loads((folder / "config.json").read_text())
    tensors = load_file(folder / "model.safetensors")
    tensors.setdefault("lm_head.weight", tensors["model.embed_tokens.weight"])
    logits = reference_logits(tensors, prompt + found, config)
    wanted = logits[len(prompt) - 1 : -1].argmax(-1).tolist()
    assert found == wanted[: len(found)]
