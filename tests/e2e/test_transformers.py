"""Logits and greedy tokens of language models against the package transformers, on random and on trained models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import byoc
from benchmarks.stories import StoryTokenizer, convert
from byoc.llm import LanguageSession, Settings, language_model, parse_kv

torch = pytest.importorskip("torch", reason='needs the reference: pip install -e ".[reference]"')
transformers = pytest.importorskip("transformers", reason='needs the reference: pip install -e ".[reference]"')

SMALL = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 100, "max_position_embeddings": 64, "initializer_range": 0.15,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None,
}  # fmt: skip
LONG = {"rope_theta": 10000.0, "original_max_position_embeddings": 16}
LONGROPE = LONG | {"rope_type": "longrope", "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]}
LONGROPE["long_factor"] = [2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5]
YARN = LONG | {"rope_type": "yarn", "factor": 4.0}
LLAMA3 = LONG | {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
DYNAMIC = {"rope_theta": 10000.0, "rope_type": "dynamic", "factor": 2.0}

# name: class of transformers, changes to SMALL, context that the artifact is compiled for
CASES: dict[str, tuple[str, dict, int]] = {
    "llama": ("Llama", {"tie_word_embeddings": False}, 48),
    "llama tied": ("Llama", {"tie_word_embeddings": True}, 48),
    "llama without shared keys": ("Llama", {"num_key_value_heads": 4}, 48),
    "llama with wide heads": ("Llama", {"head_dim": 32}, 48),
    "llama with biases": ("Llama", {"attention_bias": True, "mlp_bias": True}, 48),
    "linear rope": ("Llama", {"rope_parameters": {"rope_theta": 500.0, "rope_type": "linear", "factor": 3.0}}, 48),
    "llama3 rope": ("Llama", {"rope_parameters": LLAMA3}, 48),
    "yarn": ("Llama", {"rope_parameters": YARN}, 48),
    "yarn with mscale": ("Llama", {"rope_parameters": YARN | {"mscale": 0.7, "mscale_all_dim": 1.3}}, 48),
    "yarn untruncated": ("Llama", {"rope_parameters": YARN | {"truncate": False, "attention_factor": 1.4}}, 48),
    "dynamic rope within its texts": ("Llama", {"rope_parameters": DYNAMIC}, 48),
    "dynamic rope beyond them": ("Llama", {"rope_parameters": DYNAMIC, "max_position_embeddings": 16}, 40),
    "longrope of long texts": ("Llama", {"rope_parameters": LONGROPE}, 40),
    "longrope of short texts": ("Llama", {"rope_parameters": LONGROPE | LONG}, 16),
    "mistral": ("Mistral", {"sliding_window": None}, 48),
    "mistral with a window": ("Mistral", {"sliding_window": 8}, 48),
    "qwen2": ("Qwen2", {}, 48),
    "qwen2 with a window": ("Qwen2", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}, 48),
    "qwen3": ("Qwen3", {"head_dim": 32}, 48),
    "qwen3 with biases": ("Qwen3", {"head_dim": 16, "attention_bias": True}, 48),
    "qwen3 with odd heads": ("Qwen3", {"num_attention_heads": 6, "num_key_value_heads": 3, "head_dim": 10}, 48),
}  # fmt: skip
# transformers scales their frequencies anew as a text grows, byoc once, for texts as long as the context
GROWING = ("dynamic rope beyond them", "longrope of long texts")


def random_model(folder: Path, kind: str, changes: dict) -> tuple:
    """A model of transformers with random weights, and its folder."""
    config = getattr(transformers, f"{kind}Config")(**SMALL | changes)
    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # norms begin at one, biases at zero: neither would show a mistake
                parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(folder, safe_serialization=True)
    return model, folder


def compiled(folder: Path, context: int, chunk: int = 16) -> LanguageSession:
    settings = Settings(kv=parse_kv("k32v32", 1), context=context, chunk=chunk)
    artifact = byoc.compile(language_model(folder, settings), ["csource"], use_cache=False)
    return LanguageSession(artifact.session())


def reference_scores(model: object, tokens: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(tokens[None])).logits[0].numpy()  # type: ignore[operator]


def relative_error(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def check_greedy(session: LanguageSession, model: object, prompt: np.ndarray, count: int) -> None:
    """`session` continues `prompt` with the tokens that transformers generates."""
    session.reset()
    found = [int(t[0]) for t in session.generate(prompt, max_tokens=count, end=[])]
    with torch.no_grad():
        made = model.generate(  # type: ignore[attr-defined]
            torch.from_numpy(prompt[None]), attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
            max_new_tokens=count, min_new_tokens=count, do_sample=False, eos_token_id=None, pad_token_id=0,
        )  # fmt: skip
    assert found == made[0, len(prompt) :].tolist()


@pytest.mark.parametrize("name", CASES)
def test_a_random_model_has_the_logits_and_tokens_of_transformers(name: str, tmp_path: Path) -> None:
    kind, changes, context = CASES[name]
    model, folder = random_model(tmp_path, kind, changes)
    session = compiled(folder, context)
    tokens = np.random.default_rng(1).integers(3, 100, context)
    wanted = reference_scores(model, tokens)
    assert relative_error(session.score(tokens)[0], wanted) < 1e-4
    session.reset()
    session.prefill(tokens[: context - 5])
    for i in range(context - 5, context):
        logits = session.decode([tokens[i]])[0]
        assert relative_error(logits, wanted[i]) < 1e-4, i
    if name not in GROWING:
        check_greedy(session, model, tokens[:9], 7)


@pytest.mark.parametrize("name", ["byte-llama", "needle-llama", "stories260K"])
def test_a_trained_model_has_the_logits_and_tokens_of_transformers(
    name: str, shared_models: Path, tmp_path: Path
) -> None:
    folder = shared_models / name
    if name == "byte-llama":
        text = (shared_models / "text" / "wizard-of-oz.txt").read_bytes()[-20000:]
        tokens = np.frombuffer(text, np.uint8)[:400].astype(np.int64)
    elif name == "needle-llama":
        tokens = np.load(folder / "eval.npz")["ids_512"][0, :400].astype(np.int64)
    else:
        tokens = np.array(StoryTokenizer(folder / "tok512.bin").encode("Once upon a time, there was a girl."))
        folder = convert(folder / "stories260K.bin", tmp_path / name)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    session = compiled(folder, 512, chunk=128)
    assert relative_error(session.score(tokens)[0], reference_scores(model, tokens)) < 1e-4
    check_greedy(session, model, tokens[:100], 100)
