"""What is told of language models, caches and states that do not fit, in full; sessions go on as they were."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from safetensors.numpy import save_file

import byoc
from byoc.errors import ByocError, InputError, ModelFileError, UsageError
from byoc.llm import LanguageSession, Settings, WeightSpec, language_model, parse_kv
from byoc.llm.checkpoint import Checkpoint
from tests.golden import golden
from tests.language_models import byte_tokenizer, make_folder

TOLD = dict(part.split("\n", 1) for part in golden("language-model-errors.txt").strip().split("\n\n"))
PROMPT = [1, 5, 9, 30]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    path = tmp_path_factory.mktemp("models") / "tiny"
    return path, make_folder(path)


@pytest.fixture(scope="module")
def session(folder: tuple[Path, dict[str, np.ndarray]]) -> LanguageSession:
    return compiled(folder[0], "k32v32")


def compiled(path: Path, kv: str) -> LanguageSession:
    settings = Settings(kv=parse_kv(kv, 2), context=8, chunk=4)
    return LanguageSession(byoc.compile(language_model(path, settings), use_cache=False).session())


def check_told(case: str, error: ByocError, folder: Path | None = None) -> None:
    text = str(error) if folder is None else str(error).replace(str(folder), "<folder>")
    assert re.sub(r"\b[0-9a-f]{12}\b", "<digest>", text) == TOLD[f"{case}:"]


CALLS = {
    "a prompt longer than the context": lambda s, _: s.prefill([1] * 9),
    "a prompt that leaves the context": lambda s, _: s.prefill([1] * 5),
    "a text to score longer than the context": lambda s, _: s.score([1] * 9),
    "a token outside the vocabulary": lambda s, _: s.decode([40]),
    "a negative token": lambda s, _: s.prefill([3, -1]),
    "an empty prompt": lambda s, _: s.prefill([]),
    "too many sequences": lambda s, _: s.prefill([[1], [2]]),
    "a cut behind the end": lambda s, _: s.truncate(5),
    "a state of another model": lambda s, states: s.restore(states / "other.npz"),
    "a damaged state": lambda s, states: s.restore(states / "cut.npz"),
    "no state": lambda s, states: s.restore(states / "none.npz"),
}


@pytest.fixture(scope="module")
def states(folder: tuple[Path, dict[str, np.ndarray]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("states")
    other = compiled(folder[0], "k8v8:g8")
    other.prefill(PROMPT)
    other.save(path / "other.npz")
    (path / "cut.npz").write_bytes((path / "other.npz").read_bytes()[:200])
    return path


@pytest.mark.parametrize("case", CALLS)
def test_a_call_that_cannot_be_done_is_told_and_the_session_goes_on(
    session: LanguageSession, states: Path, case: str
) -> None:
    session.reset()
    session.prefill(PROMPT)
    wanted = session.fork().decode([7])
    with pytest.raises(ByocError) as caught:
        CALLS[case](session, states)
    check_told(case, caught.value, folder=states)
    assert session.lengths.tolist() == [4]
    np.testing.assert_array_equal(session.decode([7]), wanted)


def test_a_full_context_is_told_and_the_session_can_be_cut_back(session: LanguageSession) -> None:
    session.reset()
    session.prefill(PROMPT * 2)
    with pytest.raises(ByocError) as caught:
        session.decode([3])
    check_told("a full context", caught.value)
    session.truncate(4)
    fresh = session.fork()
    fresh.reset()
    fresh.prefill(PROMPT)
    np.testing.assert_allclose(session.decode([7]), fresh.decode([7]), rtol=1e-5, atol=1e-6)


SETTINGS = {
    "keys in groups that do not divide a head": {"kv": "k4v4:g32"},
    "values in groups that do not divide a head": {"kv": "k8v2:k.g8:v.g3"},
    "bits that do not exist": {"kv": "k3v4"},
    "a layer that does not exist": {"kv": "k4v4:g8;2=k8v8:g8"},
    "weights in groups that do not divide the inputs": {"weights": "rtn4:g40"},
    "a scale that nothing fixes": {"kv": "k8v8:per-tensor"},
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings_that_do_not_fit_the_model_are_told(folder: tuple[Path, dict[str, np.ndarray]], case: str) -> None:
    with pytest.raises(ByocError) as caught:
        language_model(
            folder[0],
            Settings(
                kv=parse_kv(SETTINGS[case].get("kv", "k16v16"), 2),
                weights=WeightSpec.parse(SETTINGS[case].get("weights", "f32")),
            ),
        )
    check_told(case, caught.value)


def checkpoints(path: Path) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """(case, changes of the configuration, what to do to the tensors)."""
    up = "model.layers.1.mlp.up_proj.weight"
    yield "a missing tensor", {}, lambda t: t.pop(up)
    yield "a tensor with a number that is none", {}, lambda t: t[up].__setitem__((3, 4), np.nan)
    yield "a tensor of integers", {}, lambda t: t.update({up: np.ones((48, 32), np.int32)})
    yield "a tensor of another shape", {}, lambda t: t.update({up: np.ones((47, 32), np.float32)})
    yield "an unsupported architecture", {"architectures": ["GPTNeoXForCausalLM"]}, lambda t: None
    yield "heads that cannot share keys", {"num_key_value_heads": 3}, lambda t: None


@pytest.mark.parametrize("case", [name for name, _, _ in checkpoints(Path())])
def test_a_checkpoint_that_does_not_fit_is_told(tmp_path: Path, case: str, capfd: pytest.CaptureFixture[str]) -> None:
    changes, damage = next((c, d) for name, c, d in checkpoints(tmp_path) if name == case)
    tensors = make_folder(tmp_path / "m")
    damage(tensors)
    save_file(tensors, str(tmp_path / "m" / "model.safetensors"))
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    (tmp_path / "m" / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(ByocError) as caught:
        language_model(tmp_path / "m")
    check_told(case, caught.value, folder=tmp_path)
    assert capfd.readouterr() == ("", "")  # TVM warns of a function that is left half built


NORM = "model.norm.weight"


def shards(path: Path) -> dict[str, str]:
    """A model in two files, and what their index says of them."""
    tensors = make_folder(path)
    (path / "model.safetensors").unlink()
    save_file({NORM: tensors.pop(NORM)}, str(path / "a.safetensors"))
    save_file(tensors, str(path / "b.safetensors"))
    return {name: "b.safetensors" for name in tensors} | {NORM: "a.safetensors"}


def write_index(path: Path, content: Any) -> None:
    (path / "model.safetensors.index.json").write_text(json.dumps(content))


def test_shards_are_read_by_their_index(tmp_path: Path, folder: tuple[Path, dict[str, np.ndarray]]) -> None:
    write_index(tmp_path / "m", {"weight_map": shards(tmp_path / "m")})
    checkpoint = Checkpoint(tmp_path / "m")
    assert checkpoint.names == sorted(folder[1])
    for name, array in folder[1].items():
        np.testing.assert_array_equal(checkpoint.tensor(name), array)


INDICES: dict[str, Any] = {
    "a shard that is missing": lambda names: {"weight_map": names | {NORM: "c.safetensors"}},
    "a shard without its tensor": lambda names: {"weight_map": names | {NORM: "b.safetensors"}},
    "a shard elsewhere": lambda names: {"weight_map": names | {NORM: "../b.safetensors"}},
    "an index without names": lambda names: {"metadata": {}},
    "an index of numbers": lambda names: {"weight_map": {NORM: 3}},
}


@pytest.mark.parametrize("case", INDICES)
def test_an_index_that_does_not_fit_its_shards_is_told(tmp_path: Path, case: str) -> None:
    write_index(tmp_path / "m", INDICES[case](shards(tmp_path / "m")))
    with pytest.raises(ByocError) as caught:
        language_model(tmp_path / "m")
    check_told(case, caught.value, folder=tmp_path)


def test_a_tensor_of_floats_that_are_not_read_is_told(tmp_path: Path) -> None:
    make_folder(tmp_path / "m")
    path = tmp_path / "m" / "model.safetensors"
    file = path.read_bytes()
    size = int.from_bytes(file[:8], "little")
    header = json.loads(file[8 : 8 + size])
    entry = header[NORM]  # four floats of eight bits in the place of one of 32
    entry["dtype"], entry["shape"] = "F8_E4M3", [4 * entry["shape"][0]]
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + file[8 + size :])
    with pytest.raises(ByocError) as caught:
        language_model(tmp_path / "m")
    check_told("a tensor of eight-bit floats", caught.value, folder=tmp_path)


@pytest.mark.parametrize(
    ("case", "decode", "prefill"),
    [
        ("entry functions with two formats", "k8v8:g8", "k4v4:g8"),
        ("entry functions with two formats of one size", "k8v8:g8", "k8v8:g4:symmetric"),
    ],
)
def test_entry_functions_that_keep_one_cache_in_two_formats_are_refused(
    folder: tuple[Path, dict[str, np.ndarray]], case: str, decode: str, prefill: str
) -> None:
    modules = [language_model(folder[0], Settings(kv=parse_kv(kv, 2), context=32)).module for kv in (decode, prefill)]
    mixed = tvm.IRModule({"decode": modules[0]["decode"], "prefill": modules[1]["prefill"]})
    with pytest.raises(ByocError) as caught:
        byoc.partition(mixed, ["csource"])
    check_told(case, caught.value)


NO_TOKENS: dict[str, Any] = {
    "a text": lambda s: s.prefill("abc"),
    "fractions": lambda s: s.prefill([1.0, 2.5]),
    "truths": lambda s: s.prefill([True]),
    "nothing": lambda s: s.prefill(None),
    "one number": lambda s: s.prefill(3),
    "a number of more than 64 bits": lambda s: s.prefill([2**70]),
    "an unsigned number of 64 bits": lambda s: s.prefill(np.array([2**63 + 5], np.uint64)),
    "lists in lists": lambda s: s.prefill([[[1], [2, 3]]]),
    "an array of three dimensions": lambda s: s.score(np.zeros((1, 2, 3), np.int64)),
    "a row and a number": lambda s: s.score([[1], 2]),
    "a fraction to decode": lambda s: s.decode([1.5]),
    "flags of two sequences": lambda s: s.decode([1], [True, True]),
    "a cut at a fraction": lambda s: s.truncate(1.5),
}


@pytest.mark.parametrize("case", NO_TOKENS)
def test_what_is_no_token_is_refused_and_the_session_goes_on(session: LanguageSession, case: str) -> None:
    session.reset()
    session.prefill(PROMPT)
    wanted = session.fork().decode([7])
    with pytest.raises(InputError):
        NO_TOKENS[case](session)
    assert session.lengths.tolist() == [4]
    np.testing.assert_array_equal(session.decode([7]), wanted)


def test_an_active_sequence_reads_one_token_however_its_flag_is_written(session: LanguageSession) -> None:
    session.reset()
    session.prefill(PROMPT)
    wanted = session.fork().decode([7])
    for flag in (True, 1, 3, -1):
        other = session.fork()
        np.testing.assert_array_equal(other.decode([7], [flag]), wanted)
        assert other.lengths.tolist() == [5]


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"context": -1}, "context is -1"), ({"context": 2**40}, "context is 1099511627776"), ({"chunk": 0}, "chunk is 0"),
     ({"batch": 1.5}, "batch is 1.5")],
)  # fmt: skip
def test_a_count_of_nothing_or_of_too_much_is_told(
    folder: tuple[Path, dict[str, np.ndarray]], settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        language_model(folder[0], Settings(**settings))


@pytest.mark.parametrize(("name", "kind"), [("kv", "KVSpec"), ("weights", "WeightSpec")])
def test_a_text_in_the_place_of_a_format_is_told(name: str, kind: str) -> None:
    with pytest.raises(UsageError, match=rf'write byoc\.llm\.{kind}\.parse\("k8v8"\)'):
        Settings(**{name: "k8v8"})


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 5000, b"\xff\xfe", byte_tokenizer()[:-40]])
def test_a_damaged_tokenizer_is_told_before_an_artifact_is_made(tmp_path: Path, content: bytes) -> None:
    make_folder(tmp_path / "m")
    (tmp_path / "m" / "tokenizer.json").write_bytes(content)
    with pytest.raises(ModelFileError, match=r"tokenizer\.json is no tokenizer"):
        language_model(tmp_path / "m")


@pytest.mark.parametrize("call", ["prefill", "score"])
@pytest.mark.parametrize("kv", ["k32v32", "k8v8:g4:per-channel"])
def test_a_call_that_is_interrupted_leaves_the_chunks_that_it_read(
    folder: tuple[Path, dict[str, np.ndarray]], monkeypatch: pytest.MonkeyPatch, kv: str, call: str
) -> None:
    session = compiled(folder[0], kv)
    whole = session.fork()
    whole.prefill([1, 5, 9, 30])
    wanted = whole.decode([7])
    run, chunks = session._run, []

    def interrupted(entry: str, inputs: dict[str, Any]) -> Any:
        if chunks:
            raise KeyboardInterrupt
        chunks.append(inputs)
        return run(entry, inputs)

    monkeypatch.setattr(session, "_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        getattr(session, call)([1, 5, 9, 30, 2, 3, 4])
    monkeypatch.undo()
    assert session.lengths.tolist() == [4]
    np.testing.assert_allclose(session.decode([7]), wanted, rtol=1e-5, atol=1e-6)
