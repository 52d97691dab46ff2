"""Small language models in Hugging Face folders, and their logits in NumPy."""

from __future__ import annotations

import json

import numpy as np
import tokenizers
from safetensors.numpy import save_file

from byoc.ops.rope import rotate_reference

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 40, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def make_folder(path, **changes):
    """A random model; its tensors."""
    config = {**CONFIG, **changes}
    random = np.random.default_rng(0)
    h, f, v = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    kv = h // config["num_attention_heads"] * config["num_key_value_heads"]
    shapes = {"model.embed_tokens": (v, h), "model.norm": (h,), "lm_head": (v, h)}
    for i in range(config["num_hidden_layers"]):
        at = f"model.layers.{i}"
        shapes |= {f"{at}.self_attn.{n}_proj": (h if n in "qo" else kv, h) for n in "qkvo"}
        shapes |= {f"{at}.mlp.gate_proj": (f, h), f"{at}.mlp.up_proj": (f, h), f"{at}.mlp.down_proj": (h, f)}
        shapes |= {f"{at}.input_layernorm": (h,), f"{at}.post_attention_layernorm": (h,)}
    tensors = {
        f"{name}.weight": (random.standard_normal(shape) * (shape[-1] ** -0.5 if len(shape) > 1 else 0.1)).astype("f4")
        + (len(shape) == 1)
        for name, shape in shapes.items()
    }
    tensors = {name: array.astype(np.float32) for name, array in tensors.items()}
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    save_file(tensors, str(path / "model.safetensors"))
    return tensors


def reference_logits(tensors, tokens, config=CONFIG):
    """Logits of every token of one sequence, in float64; models without biases, rotary scaling and windows."""
    t = {name.removeprefix("model.").removesuffix(".weight"): a.astype(np.float64) for name, a in tensors.items()}
    n, heads, kv_heads = len(tokens), config["num_attention_heads"], config["num_key_value_heads"]
    dim = config["hidden_size"] // heads
    frequencies = config["rope_theta"] ** -(np.arange(0, dim, 2) / dim)

    def norm(x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + config["rms_norm_eps"]) * t[name]

    def turned(x):
        return rotate_reference(x[None], np.array([0]), frequencies)[0]

    x = t["embed_tokens"][tokens]
    for i in range(config["num_hidden_layers"]):
        at, h = f"layers.{i}", norm(x, f"layers.{i}.input_layernorm")
        q, k, v = (h @ t[f"{at}.self_attn.{p}_proj"].T for p in "qkv")
        q, k, v = q.reshape(n, heads, dim), k.reshape(n, kv_heads, dim), v.reshape(n, kv_heads, dim)
        q, k = turned(q), turned(k)
        k, v = np.repeat(k, heads // kv_heads, axis=1), np.repeat(v, heads // kv_heads, axis=1)
        scores = np.einsum("qhd,thd->hqt", q, k) * dim**-0.5
        scores = np.where(np.tril(np.ones((n, n))) > 0, scores, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        x = x + np.einsum("hqt,thd->qhd", weights, v).reshape(n, -1) @ t[f"{at}.self_attn.o_proj"].T
        h = norm(x, f"{at}.post_attention_layernorm")
        gate, up = h @ t[f"{at}.mlp.gate_proj"].T, h @ t[f"{at}.mlp.up_proj"].T
        x = x + (gate / (1 + np.exp(-gate)) * up) @ t[f"{at}.mlp.down_proj"].T
    return norm(x, "norm") @ t["lm_head"].T


def byte_tokenizer():
    """The content of a ``tokenizer.json`` that maps each byte to its own id."""
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    shown = {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}
    assert set(shown.values()) == set(alphabet)
    made = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={c: b for b, c in shown.items()}, merges=[]))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    return made.to_str().encode()
