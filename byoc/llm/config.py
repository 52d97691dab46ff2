"""The shape of a Llama-like model, from a Hugging Face ``config.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from byoc.errors import ModelFileError, UnsupportedModelError
from byoc.llm.packed_checkpoint import PackedFormat, packed_format
from byoc.llm.rope_scaling import Rope, rope_of

ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")


@dataclass(frozen=True)
class ModelConfig:
    """What building the graph needs to know.

    Attributes
    ----------
    hidden, intermediate, vocabulary: widths.
    heads, kv_heads, head_dim: of attention; `heads / kv_heads` neighbouring heads share keys and values.
    epsilon: of RMS norms.
    rope: frequencies and factor of the rotary embedding.
    tied: whether the output layer is the embedding.
    qkv_bias, output_bias, mlp_bias: which linear layers have a bias.
    qk_norm: whether queries and keys are RMS-normalised per head before they are rotated.
    windows: per layer, how many positions back a query sees with its own; 0 for all.
    longest: positions that the model was made for.
    begin, end: token ids that begin and end a text; -1 and () for none.
    packed: how the checkpoint holds linear layers as integers; None for floats.
    """

    architecture: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    epsilon: float
    rope: Rope
    tied: bool
    qkv_bias: bool
    output_bias: bool
    mlp_bias: bool
    qk_norm: bool
    windows: tuple[int, ...]
    longest: int
    begin: int
    end: tuple[int, ...]
    packed: PackedFormat | None = None


# What the graph is built from layer by layer, or allocated by: a number beyond is a damaged file.
_MOST = {
    "num_hidden_layers": 10_000,
    "hidden_size": 2**20,
    "intermediate_size": 2**24,
    "num_attention_heads": 2**16,
    "num_key_value_heads": 2**16,
    "head_dim": 2**16,
    "vocab_size": 2**28,
    "max_position_embeddings": 2**40,
}


def read_config(folder: str | Path, context: int = 0) -> ModelConfig:
    """The configuration in ``config.json`` of a model's folder.

    `context` is the longest text that will be read, 0 for what the model was made for; some models scale the rotary
    embedding by it.

    Raises :class:`ModelFileError` where it is missing or malformed, :class:`UnsupportedModelError` for an architecture
    or a setting that byoc does not build.
    """
    path = Path(folder) / "config.json"
    try:
        values = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ModelFileError(
            f"{path} cannot be read: {error.strerror}", "a model's folder has one", "name the folder of the model"
        ) from None
    except ValueError as error:
        raise ModelFileError(f"{path} is not JSON: {error}", "", "download the model again") from None
    if not isinstance(values, dict):
        raise ModelFileError(f"{path} holds no JSON object", "", "download the model again")
    try:
        return _config(values, context)
    except KeyError as error:
        raise ModelFileError(f"{path} has no field {error}", "the graph cannot be built without it") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise ModelFileError(f"{path} has a field of the wrong type: {error}") from None


def _config(values: Mapping[str, Any], context: int) -> ModelConfig:
    architecture = str((values.get("architectures") or ["?"])[0])
    if architecture not in ARCHITECTURES:
        raise UnsupportedModelError(
            f"the architecture {architecture} is not known",
            f"byoc builds {', '.join(ARCHITECTURES)}",
            "export the model to ONNX and compile that",
        )
    if values.get("hidden_act", "silu") != "silu":
        raise UnsupportedModelError(
            f'the activation "{values["hidden_act"]}" is not known', "byoc builds SwiGLU layers"
        )
    for name, most in _MOST.items():
        if values.get(name) is not None and not 1 <= int(values[name]) <= most:
            raise UnsupportedModelError(f'"{name}" is {values[name]}', f"byoc builds models with 1 to {most:,}")
    hidden, heads, layers = (int(values[k]) for k in ("hidden_size", "num_attention_heads", "num_hidden_layers"))
    kv_heads = int(values.get("num_key_value_heads") or heads)
    head_dim = int(values.get("head_dim") or hidden // heads)
    if min(hidden, heads, layers, kv_heads, head_dim) < 1 or heads % kv_heads or head_dim % 2:
        raise UnsupportedModelError(
            f"{heads} heads of {head_dim} channels cannot share {kv_heads} keys",
            "heads are a multiple of key heads, and channels turn in pairs",
        )
    bias = bool(values.get("attention_bias", False))
    longest = int(values.get("max_position_embeddings", 2048))
    return ModelConfig(
        architecture=architecture,
        hidden=hidden,
        intermediate=int(values["intermediate_size"]),
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocabulary=int(values["vocab_size"]),
        epsilon=float(values.get("rms_norm_eps", 1e-6)),
        rope=rope_of(values, head_dim, longest, context or longest),
        tied=bool(values.get("tie_word_embeddings", False)),
        qkv_bias=bias or architecture == "Qwen2ForCausalLM",
        output_bias=bias and architecture == "LlamaForCausalLM",
        mlp_bias=bool(values.get("mlp_bias", False)),
        qk_norm=architecture == "Qwen3ForCausalLM",
        windows=_windows(values, architecture, layers),
        longest=longest,
        begin=-1 if values.get("bos_token_id") is None else int(values["bos_token_id"]),
        end=_ids(values.get("eos_token_id")),
        packed=packed_format(values),
    )


def _windows(values: Mapping[str, Any], architecture: str, layers: int) -> tuple[int, ...]:
    window = int(values.get("sliding_window") or 0)
    if architecture == "MistralForCausalLM":
        return (window,) * layers
    if not architecture.startswith("Qwen") or not values.get("use_sliding_window"):
        return (0,) * layers
    kinds = values.get("layer_types")
    if kinds:
        if len(kinds) != layers:
            raise ModelFileError(f'"layer_types" names {len(kinds)} layers of {layers}')
        return tuple(window if kind == "sliding_attention" else 0 for kind in kinds)
    first = int(values.get("max_window_layers", layers))
    return tuple(window if i >= first else 0 for i in range(layers))


def _ids(value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    return tuple(int(v) for v in value) if isinstance(value, list) else (int(value),)
