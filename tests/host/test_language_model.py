"""Language models from Hugging Face folders: logits, chunks, caches."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

import byoc
from byoc.artifact.dtypes import numpy_dtype
from byoc.errors import ArtifactError, InputError, ModelFileError, UnsupportedModelError, UsageError
from byoc.llm.model import language_model
from byoc.llm.session import LanguageSession
from byoc.llm.settings import Settings, parse_kv
from byoc.llm.weights import WeightSpec
from byoc.ops.linear import unpack
from tests.language_models import make_folder, reference_logits


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny"
    tensors = make_folder(path)
    return path, tensors


def session_of(path, **settings):
    settings = {"kv": parse_kv(settings.pop("kv", "k32v32"), 2), **settings}
    model = language_model(path, Settings(**settings))
    return LanguageSession(byoc.compile(model, use_cache=False).session())


@pytest.fixture(scope="module")
def session(folder):
    return session_of(folder[0], chunk=4)


TOKENS = [1, 5, 9, 30, 2, 7, 7, 11, 39, 0]


def test_prefill_decode_and_score_agree_with_the_reference(folder, session):
    wanted = reference_logits(folder[1], TOKENS)
    session.reset()
    np.testing.assert_allclose(session.prefill(TOKENS[:7])[0], wanted[6], rtol=1e-4, atol=1e-4)
    for i in (7, 8, 9):
        np.testing.assert_allclose(session.decode([TOKENS[i]])[0], wanted[i], rtol=1e-4, atol=1e-4)
    assert session.lengths.tolist() == [10]
    session.reset()
    np.testing.assert_allclose(session.score(TOKENS)[0], wanted, rtol=1e-4, atol=1e-4)


def test_packed_weights_compute_with_what_was_rounded(folder):
    path, tensors = folder
    model = language_model(path, Settings(kv=parse_kv("k32v32", 2), weights=WeightSpec.parse("rtn4:g8")))
    from byoc.llm.weights import round_to_nearest

    rounded = dict(tensors)
    for name, array in tensors.items():
        if name.endswith("_proj.weight") or name == "lm_head.weight":
            packed = round_to_nearest(array, 4, 8)
            rounded[name] = unpack(packed.packed, packed.scale, packed.zero, 4)
    session = LanguageSession(byoc.compile(model, use_cache=False).session())
    np.testing.assert_allclose(session.score(TOKENS)[0], reference_logits(rounded, TOKENS), rtol=1e-3, atol=1e-3)


def test_rows_of_different_lengths_run_together(folder):
    session = session_of(folder[0], batch=2, chunk=4, kv="k8v8:g8:per-channel")
    alone = session_of(folder[0], chunk=4, kv="k8v8:g8:per-channel")
    rows = [TOKENS, TOKENS[:3]]
    together = session.prefill(rows)
    assert session.lengths.tolist() == [10, 3]
    then = session.decode([4, 6])
    for i, (row, token) in enumerate(zip(rows, (4, 6), strict=True)):
        alone.reset()
        np.testing.assert_allclose(together[i], alone.prefill(row)[0], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(then[i], alone.decode([token])[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kv", ["k32v32", "k8v8:g4:per-channel"])
def test_fork_and_truncate_go_back_to_where_the_sequence_was(folder, kv):
    session = session_of(folder[0], kv=kv)
    session.prefill(TOKENS[:6])
    twin = session.fork()
    first = session.decode([3])
    session.decode([8])
    session.truncate(6)
    np.testing.assert_allclose(session.decode([3]), first, rtol=2e-2, atol=2e-2)
    np.testing.assert_allclose(twin.decode([3]), first, rtol=1e-6)
    assert twin.lengths.tolist() == [7]


def test_a_saved_state_is_restored_in_another_session(folder, session, tmp_path):
    session.reset()
    session.prefill(TOKENS[:6])
    session.save(tmp_path / "state.npz")
    wanted = session.decode([3])
    other = LanguageSession(session.session)
    other.restore(tmp_path / "state.npz")
    np.testing.assert_array_equal(other.decode([3]), wanted)


def test_a_state_of_another_model_or_a_damaged_one_is_refused_and_the_session_stays_usable(folder, session, tmp_path):
    other = session_of(folder[0], kv="k8v8:g8")
    other.prefill([1, 2])
    other.save(tmp_path / "other.npz")
    session.reset()
    wanted = session.prefill(TOKENS[:3])
    with pytest.raises(ArtifactError, match="holds the state of another model"):
        session.restore(tmp_path / "other.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "other.npz").read_bytes()[:200])
    with pytest.raises(ArtifactError, match="is no saved state, or is damaged"):
        other.restore(tmp_path / "cut.npz")
    assert session.lengths.tolist() == [3]
    session.truncate(2)
    np.testing.assert_allclose(session.decode([TOKENS[2]]), wanted, rtol=1e-5, atol=1e-5)


def test_wrong_tokens_are_refused_and_the_session_stays_usable(session):
    session.reset()
    session.prefill(TOKENS)
    for tokens, says in (([40], "token 40 of sequence 0 is not in the vocabulary"), ([], "sequence 0 has no tokens")):
        with pytest.raises(InputError, match=says):
            session.prefill(tokens)
    with pytest.raises(InputError, match="sequence 0 would have 70 tokens, its caches hold 64"):
        session.prefill([1] * 60)
    with pytest.raises(InputError, match="2 sequences are given, the model was compiled for 1"):
        session.decode([1, 2])
    assert session.lengths.tolist() == [10]


def test_the_cache_has_the_size_that_its_format_says(folder):
    session = session_of(folder[0], kv="k4v4:g8", context=64)
    per_token = 2 * (4 + 2 + 2)  # keys and values: eight numbers of four bits, a scale, a minimum
    assert session.cache.nbytes == 2 * 2 * 64 * per_token


def test_a_missing_or_misshapen_tensor_is_named(tmp_path):
    tensors = make_folder(tmp_path / "m")
    path = tmp_path / "m" / "model.safetensors"
    save_file({k: v for k, v in tensors.items() if "layers.1.mlp.up" not in k}, str(path))
    with pytest.raises(ModelFileError, match=r'has no tensor "model.layers.1.mlp.up_proj.weight"'):
        language_model(tmp_path / "m")
    save_file({**tensors, "model.norm.weight": np.ones(3, np.float32)}, str(path))
    with pytest.raises(ModelFileError, match=r'"model.norm.weight" .* has shape \[3\]'):
        language_model(tmp_path / "m")


def test_an_unknown_architecture_or_an_unfit_cache_is_refused(tmp_path, folder):
    make_folder(tmp_path / "m", architectures=["GPTNeoXForCausalLM"])
    with pytest.raises(UnsupportedModelError, match="the architecture GPTNeoXForCausalLM is not known"):
        language_model(tmp_path / "m")
    with pytest.raises(UsageError, match="keys cannot be kept in groups of 32: a head has 8 channels"):
        language_model(folder[0], Settings(kv=parse_kv("k4v4:g32", 2)))


@pytest.mark.parametrize(
    ("field", "value"), [("num_hidden_layers", 2**40), ("num_attention_heads", 0), ("vocab_size", -1)]
)
def test_an_absurd_configuration_is_refused(tmp_path, field, value):
    make_folder(tmp_path / "m")
    config = tmp_path / "m" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), field: value}))
    with pytest.raises(UnsupportedModelError, match=f'"{field}" is {value}'):
        language_model(tmp_path / "m")


@pytest.mark.parametrize("targets", [[], ["csource"]])
@pytest.mark.parametrize("spec", ["f16", "bf16"])
def test_sixteen_bit_weights_are_rounded_once_and_computed_in_float32(folder, spec, targets):
    path, tensors = folder
    weights = WeightSpec.parse(spec)
    dtype = numpy_dtype(weights.dtype)
    model = language_model(path, Settings(kv=parse_kv("k32v32", 2), weights=weights))
    artifact = byoc.compile(model, targets, use_cache=False)
    session = LanguageSession(artifact.session())
    rounded = {n: a.astype(dtype).astype(np.float32) if a.ndim > 1 else a for n, a in tensors.items()}
    np.testing.assert_allclose(session.score(TOKENS)[0], reference_logits(rounded, TOKENS), rtol=1e-4, atol=1e-4)
    held = [
        -(-a.shape[0] // 32) * 32 * a.shape[1] * 2 for a in tensors.values() if a.ndim > 1
    ]  # csource's whole panels
    assert sum(a.nbytes for a in artifact.arrays) <= sum(held) + 1024  # and norms


def test_weights_beyond_float16_are_told(tmp_path):
    tensors = make_folder(tmp_path / "m")
    tensors["model.layers.1.mlp.up_proj.weight"][0, 0] = 70000
    save_file(tensors, str(tmp_path / "m" / "model.safetensors"))
    with pytest.raises(UsageError, match=r'"layers.1.up" cannot be kept as float16: its largest magnitude is 70000'):
        language_model(tmp_path / "m", Settings(weights=WeightSpec.parse("f16")))
    language_model(tmp_path / "m", Settings(weights=WeightSpec.parse("bf16")))


@pytest.mark.parametrize("text", ["int3", "awq3:g32", "f16:g32", "awq4:h8", "4:g32", "f8"])
def test_an_unknown_format_of_weights_is_refused(text):
    with pytest.raises(UsageError, match=f'"{text}"'):
        WeightSpec.parse(text)


@pytest.mark.parametrize("text", ["f32", "f16", "bf16", "rtn8:g32", "rtn4:g0", "awq4:g128"])
def test_a_format_of_weights_is_written_as_it_is_read(text):
    assert str(WeightSpec.parse(text)) == text
