"""AWQ and fixed cache scales: what calibration changes, and what it must not."""

from __future__ import annotations

import numpy as np
import pytest
import tvm_ffi
from safetensors.numpy import save_file

import byoc
from byoc.cache import Cache
from byoc.errors import CalibrationError, UsageError
from byoc.llm.awq import ActivationAware, clip_groups, find_scale
from byoc.llm.calibrate import calibrate, segments
from byoc.llm.calibration_text import read_calibration
from byoc.llm.checkpoint import Checkpoint
from byoc.llm.config import read_config
from byoc.llm.fixed_scale import fixed_scale
from byoc.llm.float_model import FloatModel
from byoc.llm.kv_spec import CacheFormat
from byoc.llm.model import language_model
from byoc.llm.session import LanguageSession
from byoc.llm.settings import Settings, parse_kv
from byoc.llm.tensors import ModelTensors
from byoc.llm.weights import WeightSpec, round_to_nearest
from byoc.ops.linear import unpack
from tests.language_models import CONFIG, byte_tokenizer, make_folder, reference_logits

RANDOM = np.random.default_rng(0)
TEXT = tuple(int(i) for i in RANDOM.integers(0, 40, 200))
AWQ = WeightSpec.parse("awq4:g8")


def salient_folder(path, **changes):
    """A model with a few channels that are much larger than the others, as trained ones have; perhaps biases."""
    tensors = make_folder(path, **changes)
    config = {**CONFIG, **changes}
    for name, array in tensors.items():
        if name == "model.embed_tokens.weight":
            array[:, [3, 17]] *= 20
        if "v_proj" in name or "up_proj" in name:
            array[5] *= 15
    if config["architectures"] == ["Qwen2ForCausalLM"]:
        for i in range(config["num_hidden_layers"]):
            for n in "qkv":
                at = f"model.layers.{i}.self_attn.{n}_proj"
                tensors[f"{at}.bias"] = RANDOM.standard_normal(len(tensors[f"{at}.weight"])).astype(np.float32)
    save_file(tensors, str(path / "model.safetensors"))
    return tensors


def tensors_of(path):
    return ModelTensors(read_config(path), Checkpoint(path))


def logits_of(tensors, tokens=TEXT[:40]):
    model = FloatModel(tensors)
    x = model.embed(np.array([tokens]))
    for i in range(tensors.config.layers):
        x = model.block(i, x, lambda name, x: None)
    return model.logits(x, lambda name, x: None)[0]


def test_the_model_that_calibration_runs_is_the_reference(tmp_path):
    tensors = make_folder(tmp_path / "m")
    np.testing.assert_allclose(
        logits_of(tensors_of(tmp_path / "m")), reference_logits(tensors, list(TEXT[:40])), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("architecture", ["LlamaForCausalLM", "Qwen2ForCausalLM"])
def test_scales_are_folded_exactly_before_anything_is_rounded(tmp_path, architecture):
    salient_folder(tmp_path / "m", architectures=[architecture])
    tensors = tensors_of(tmp_path / "m")
    wanted = logits_of(tensors)
    norms = {n: tensors.floats(n) for n in ("layers.0.input_norm", "layers.1.post_norm", "final_norm")}
    rows = {n: tensors.floats(n) for n in ("layers.0.v", "layers.1.up")}
    quantiser, model = ActivationAware(tensors, AWQ), FloatModel(tensors_of(tmp_path / "m"))
    x = model.embed(segments(tensors.config, TEXT))
    for i in (0, 1):
        seen = {}
        x = model.block(i, x, seen.__setitem__)
        quantiser.fold_block(i, seen)
    quantiser.fold_last({"logits": model.before_logits(x)})
    for name, before in {**norms, **rows}.items():
        assert np.abs(tensors.floats(name) / before - 1).max() > 0.1, f"{name} was not scaled"
    np.testing.assert_allclose(logits_of(tensors), wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def rounded(weight, bits=4, group=8):
    packed = round_to_nearest(weight, bits, group)
    return unpack(packed.packed, packed.scale, packed.zero, bits)


def test_inputs_that_are_large_get_finer_steps():
    weight = RANDOM.standard_normal((16, 16)).astype(np.float32)
    x = RANDOM.standard_normal((100, 16)).astype(np.float32)
    x[:, 6] *= 50
    scale = find_scale([weight], x, rounded)
    assert scale.argmax() == 6

    def loss(w):
        return np.square(x @ (w - weight).T).sum()

    assert loss(rounded(weight * scale) / scale) < 0.5 * loss(rounded(weight))


def test_a_range_is_cut_where_outputs_come_closer_and_only_there():
    weight = RANDOM.standard_normal((8, 16)).astype(np.float32)
    weight[0, 3] = 6.0  # an outlier whose input is nearly never there
    x = RANDOM.standard_normal((200, 16)).astype(np.float32)
    x[:, 3] *= 1e-3
    cut = clip_groups(weight, x, rounded, 8)
    lost = [np.square(x @ (rounded(w) - weight).T).sum(0) for w in (weight, cut)]
    assert cut[0, 3] < 6.0 and lost[1][0] < 0.8 * lost[0][0]
    assert (lost[1] <= lost[0] * 1.2).all()  # groups are judged one by one, their sum may be a little worse


def test_awq_is_closer_to_the_float_model_than_rounding_to_nearest(tmp_path):
    salient_folder(tmp_path / "m")
    wanted = logits_of(tensors_of(tmp_path / "m"))
    lost = {}
    for spec in ("rtn4:g8", "awq4:g8"):
        tensors = tensors_of(tmp_path / "m")
        calibrate(tensors, Settings(weights=WeightSpec.parse("awq4:g8"), calibration=TEXT)) if spec[0] == "a" else None
        if spec[0] == "r":
            for name in [f"layers.{i}.{n}" for i in (0, 1) for n in ("q", "k", "v", "o", "gate", "up", "down")]:
                tensors.pack(name, round_to_nearest(tensors.floats(name), 4, 8))
            tensors.pack("logits", round_to_nearest(tensors.floats("logits"), 4, 8))
        lost[spec] = np.square(logits_of(tensors) - wanted).mean()
    assert lost["awq4:g8"] < 0.6 * lost["rtn4:g8"]


def test_a_compiled_model_computes_with_what_calibration_found(tmp_path):
    salient_folder(tmp_path / "m")
    settings = Settings(kv=parse_kv("k32v32", 2), weights=AWQ, calibration=TEXT)
    tensors = tensors_of(tmp_path / "m")
    calibrate(tensors, settings)
    model = language_model(tmp_path / "m", settings)
    session = LanguageSession(byoc.compile(model, use_cache=False).session())
    wanted = logits_of(tensors)
    np.testing.assert_allclose(session.score(TEXT[:40])[0], wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())


def test_the_same_text_gives_the_same_model_and_another_text_another(tmp_path):
    salient_folder(tmp_path / "m")
    settings = [Settings(weights=AWQ, calibration=text) for text in (TEXT, TEXT, TEXT[::-1])]
    one, two, other = (language_model(tmp_path / "m", s) for s in settings)
    assert one.digest == two.digest != other.digest
    assert tvm_ffi.structural_equal(one.module, two.module) and not tvm_ffi.structural_equal(one.module, other.module)
    assert one.facts["calibration"]["tokens"] == 200


def test_what_awq_found_is_taken_from_the_cache_for_another_kind_of_kv_cache(tmp_path, monkeypatch):
    salient_folder(tmp_path / "m")
    kv = [parse_kv(text, 2) for text in ("k8v8:g8", "k4v4:per-tensor")]
    each = [Settings(kv=spec, weights=AWQ, context=16, chunk=8, calibration=TEXT) for spec in kv]
    fresh = [language_model(tmp_path / "m", settings) for settings in each]
    cache = Cache(tmp_path / "cache")
    first = language_model(tmp_path / "m", each[0], cache)
    monkeypatch.setattr(ActivationAware, "_pack", None)  # what would quantise anew
    kept = [language_model(tmp_path / "m", settings, cache) for settings in each]
    for found, wanted in ((first, fresh[0]), *zip(kept, fresh, strict=True)):
        assert (found.digest, found.facts) == (wanted.digest, wanted.facts)
        assert tvm_ffi.structural_equal(found.module, wanted.module)


def test_scales_are_taken_from_the_cache_by_the_format_they_belong_to(tmp_path, monkeypatch):
    salient_folder(tmp_path / "m")
    texts = ("k4v4:per-tensor", "k8v4:per-tensor", "k4v4:per-tensor:mean")
    each = [Settings(kv=parse_kv(text, 2), context=16, chunk=8, calibration=TEXT) for text in texts]
    fresh = [language_model(tmp_path / "m", settings) for settings in each]
    assert len({str(model.facts["fixed_scales"]) for model in fresh}) == 3
    cache = Cache(tmp_path / "cache")
    for settings in each:
        language_model(tmp_path / "m", settings, cache)
    monkeypatch.setattr(FloatModel, "block", None)  # what would look at the text again
    for settings, wanted in zip(each, fresh, strict=True):
        found = language_model(tmp_path / "m", settings, cache)
        assert (found.digest, found.facts) == (wanted.digest, wanted.facts)


def test_a_text_that_nothing_needs_changes_nothing(tmp_path):
    make_folder(tmp_path / "m")
    plain, given = (language_model(tmp_path / "m", Settings(calibration=text)) for text in ((), TEXT))
    assert plain.digest == given.digest and "calibration" not in given.facts


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_fixed_scale_loses_less_than_the_whole_range_would(bits, symmetric):
    numbers = RANDOM.standard_normal((1, 500, 2, 8)).astype(np.float32) + 0.5
    numbers.flat[7] = 12.0
    form = CacheFormat(bits, "per-tensor", symmetric=symmetric)
    found = fixed_scale(form, numbers)
    levels, half = (1 << bits) - 1, (1 << bits - 1) - 1

    def lost(scale, low, steps):
        return np.square(np.clip(np.rint((numbers - low) / scale), 0, steps) * scale + low - numbers).mean()

    if symmetric:
        whole = lost(12.0 / half, -12.0, 2 * half)
        chosen = lost(found.scale, -half * found.scale, 2 * half)
    else:
        low = float(numbers.min())
        whole, chosen = lost((12.0 - low) / levels, low, levels), lost(found.scale, found.minimum, levels)
    assert chosen < whole * (0.6 if bits < 8 else 1.0001)


def test_numbers_that_are_all_zero_get_a_scale_that_divides():
    for symmetric in (False, True):
        assert fixed_scale(CacheFormat(4, "per-tensor", symmetric=symmetric), np.zeros((1, 3, 2, 8))).scale > 0


@pytest.mark.parametrize("targets", [[], ["csource"]])
@pytest.mark.parametrize("kv", ["k8v8:per-tensor", "k8v8:per-tensor:symmetric:mean", "k8v8:per-tensor:hadamard"])
def test_caches_with_fixed_scales_stay_close_to_the_float_model(tmp_path, kv, targets):
    tensors = make_folder(tmp_path / "m")
    settings = Settings(kv=parse_kv(kv, 2), calibration=TEXT, chunk=16)
    model = language_model(tmp_path / "m", settings)
    scales = model.facts["fixed_scales"]
    assert len(scales) == 2 and all(0 < scale < 1 for pair in scales for scale, _ in pair)
    session = LanguageSession(byoc.compile(model, targets, use_cache=False).session())
    tokens = list(TEXT[:40])
    wanted = reference_logits(tensors, tokens)
    assert np.sqrt(np.square(session.score(tokens)[0] - wanted).mean()) < 0.03 * wanted.std()
    per_token = 2 * 8  # a byte for each channel of keys and of values, no scales
    assert session.cache.nbytes == 2 * 2 * (64 * per_token + (64 if "mean" in kv else 0))


def test_layers_without_fixed_scales_have_none(tmp_path):
    make_folder(tmp_path / "m")
    model = language_model(tmp_path / "m", Settings(kv=parse_kv("k16v16;1=k8v8:per-tensor", 2), calibration=TEXT))
    assert model.facts["fixed_scales"][0] == [[1.0, 0.0], [1.0, 0.0]] != model.facts["fixed_scales"][1]


def test_pieces_of_a_long_text_are_spread_and_begin_as_the_text_does(tmp_path):
    make_folder(tmp_path / "m")  # the model was made for 64 tokens, and texts begin with token 1
    config = read_config(tmp_path / "m")
    ids = (1, *[7] * 500, *[8] * 1500)
    pieces = segments(config, ids)
    assert pieces.shape == (16, 64) and (pieces[:, 0] == 1).all()
    assert pieces[0, 1] == 7 and pieces[-1, -1] == 8
    assert segments(config, (5, 6, 7)).tolist() == [[5, 6, 7]]


@pytest.mark.parametrize(("weights", "kv"), [("awq4:g8", "k16v16"), ("f32", "k8v8:per-tensor")])
def test_what_needs_a_text_says_so(tmp_path, weights, kv):
    make_folder(tmp_path / "m")
    settings = Settings(kv=parse_kv(kv, 2), weights=WeightSpec.parse(weights))
    wanted = weights if weights != "f32" else kv
    with pytest.raises(UsageError, match=f"{wanted} needs a calibration text"):
        language_model(tmp_path / "m", settings)


def test_a_text_of_another_tokenizer_and_a_group_that_does_not_fit_are_told(tmp_path):
    make_folder(tmp_path / "m")
    with pytest.raises(CalibrationError, match="the calibration text has the token 40"):
        language_model(tmp_path / "m", Settings(weights=AWQ, calibration=(1, 40)))
    with pytest.raises(UsageError, match="weights of 32 inputs cannot be kept in groups of 40"):
        language_model(tmp_path / "m", Settings(weights=WeightSpec.parse("awq4:g40"), calibration=TEXT))


def test_a_calibration_text_is_read_by_the_models_tokenizer_or_as_ids(tmp_path):
    folder = tmp_path / "m"
    make_folder(folder, vocab_size=256)
    (tmp_path / "t.txt").write_text("abc")
    with pytest.raises(CalibrationError, match=r"has no tokenizer.json"):
        read_calibration(tmp_path / "t.txt", folder)
    (folder / "tokenizer.json").write_bytes(byte_tokenizer())
    assert read_calibration(tmp_path / "t.txt", folder) == (97, 98, 99)
    np.save(tmp_path / "ids.npy", np.array([[3, 4], [5, 6]]))
    assert read_calibration(tmp_path / "ids.npy", folder) == (3, 4, 5, 6)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.txt", b"", r"t.txt is empty"),
        ("t.txt", b"\xff\xfe\x00", r"t.txt is no text"),
        ("t.txt", None, r"t.txt cannot be read: No such file"),
        ("t.npy", b"junk", r"t.npy is no .npy file"),
        ("t.npy", None, r"t.npy cannot be read: No such file"),
        ("t.npy", np.ones(3), r"t.npy holds float64\[3\], no token ids"),
    ],
)
def test_a_file_that_holds_no_calibration_text_is_told(tmp_path, name, content, says):
    make_folder(tmp_path / "m", vocab_size=256)
    (tmp_path / "m" / "tokenizer.json").write_bytes(byte_tokenizer())
    if isinstance(content, np.ndarray):
        np.save(tmp_path / name, content)
    elif content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CalibrationError, match=says):
        read_calibration(tmp_path / name, tmp_path / "m")


def perplexity(tensors, windows):
    logits = np.concatenate([logits_of(tensors, window)[:-1] for window in windows]).astype(np.float64)
    logits -= logits.max(-1, keepdims=True)
    following = np.concatenate([window[1:] for window in windows])
    chosen = logits[np.arange(len(logits)), following]
    return float(np.exp((np.log(np.exp(logits).sum(-1)) - chosen).mean()))


@pytest.mark.slow
def test_awq_lowers_the_perplexity_of_a_trained_model_at_four_bits(shared_models):
    folder = shared_models / "byte-llama"
    texts = [(shared_models / "text" / n).read_bytes() for n in ("wizard-of-oz.txt", "wikitext2-valid.txt")]
    held_out = np.array([list(t[i : i + 512]) for t in texts for i in range(len(t) - 4096, len(t), 512)])
    rtn, awq = tensors_of(folder), tensors_of(folder)
    names = [f"layers.{i}.{n}" for i in range(4) for n in ("q", "k", "v", "o", "gate", "up", "down")]
    for name in [*names, "logits"]:
        rtn.pack(name, round_to_nearest(rtn.floats(name), 4, 64))
    calibration = tuple(b"".join(t[:1024] for t in texts))
    calibrate(awq, Settings(weights=WeightSpec.parse("awq4:g64"), calibration=calibration))
    exact, nearest, aware = (perplexity(t, held_out) for t in (tensors_of(folder), rtn, awq))
    assert exact < aware < exact + 0.75 * (nearest - exact)
