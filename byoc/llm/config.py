"""The shape of a Llama-like model, from a Hugging Face ``config.json``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from byoc.errors import ModelFileError, UnsupportedModelError
from byoc.llm.config_fields import Fields, read_fields
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
_LAYERS, _WIDTH, _HEADS, _VOCABULARY = 10_000, 2**24, 2**16, 2**28
_MISTRAL_WINDOW = 4096  # of a configuration that does not say


def read_config(folder: str | Path, context: int = 0) -> ModelConfig:
    """The configuration in ``config.json`` of a model's folder.

    `context` is the longest text that will be read, 0 for what the model was made for; some models scale the rotary
    embedding by it.

    Raises :class:`ModelFileError` where it is missing or malformed, :class:`UnsupportedModelError` for an architecture
    or a setting that byoc does not build.
    """
    return _config(read_fields(Path(folder) / "config.json"), context)


def _config(fields: Fields, context: int) -> ModelConfig:
    architecture = next(iter(fields.texts("architectures", ())), "?")
    if architecture not in ARCHITECTURES:
        raise UnsupportedModelError(
            f"the architecture {architecture} is not known",
            f"byoc builds {', '.join(ARCHITECTURES)}",
            "export the model to ONNX and compile that",
        )
    activation = fields.text("hidden_act", "silu")
    if activation != "silu":
        raise UnsupportedModelError(f'the activation "{activation}" is not known', "byoc builds SwiGLU layers")
    layers = fields.whole("num_hidden_layers", most=_LAYERS)
    hidden = fields.whole("hidden_size", most=_WIDTH)
    heads, kv_heads, head_dim = _heads(fields, hidden)
    longest = fields.whole("max_position_embeddings", 2048)
    # Mistral has no biases, and Qwen2 those of queries, keys and values, whatever the configuration says
    bias = architecture in ("LlamaForCausalLM", "Qwen3ForCausalLM") and fields.flag("attention_bias")
    return ModelConfig(
        architecture=architecture,
        hidden=hidden,
        intermediate=fields.whole("intermediate_size", most=_WIDTH),
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocabulary=fields.whole("vocab_size", most=_VOCABULARY),
        epsilon=fields.number("rms_norm_eps", 1e-6),
        rope=rope_of(fields, head_dim, longest, context or longest),
        tied=fields.flag("tie_word_embeddings"),
        qkv_bias=bias or architecture == "Qwen2ForCausalLM",
        output_bias=bias,
        mlp_bias=architecture == "LlamaForCausalLM" and fields.flag("mlp_bias"),
        qk_norm=architecture == "Qwen3ForCausalLM",
        windows=_windows(fields, architecture, layers),
        longest=longest,
        begin=next(iter(fields.ids("bos_token_id")), -1),
        end=fields.ids("eos_token_id"),
        packed=packed_format(fields),
    )


def _heads(fields: Fields, hidden: int) -> tuple[int, int, int]:
    """Heads, those of keys and values, and the channels of each."""
    heads = fields.whole("num_attention_heads", most=_HEADS)
    kv_heads = fields.whole("num_key_value_heads", heads, most=_HEADS)
    head_dim = fields.whole("head_dim", hidden // heads, least=0, most=_HEADS)
    if head_dim < 2 or heads % kv_heads or head_dim % 2:
        raise UnsupportedModelError(
            f"{heads} heads of {head_dim} channels cannot share {kv_heads} keys",
            "heads are a multiple of key heads, and channels turn in pairs",
        )
    return heads, kv_heads, head_dim


def _windows(fields: Fields, architecture: str, layers: int) -> tuple[int, ...]:
    if architecture == "MistralForCausalLM":
        named = fields.has("sliding_window")  # null is no window
        return (_window(fields) if named else _MISTRAL_WINDOW,) * layers
    if not architecture.startswith("Qwen") or not fields.flag("use_sliding_window"):
        return (0,) * layers
    window, kinds = _window(fields), fields.texts("layer_types", ())
    if not kinds:
        first = fields.whole("max_window_layers", layers, least=0)
        return tuple(window if i >= first else 0 for i in range(layers))
    if len(kinds) != layers:
        raise ModelFileError(f'"layer_types" names {len(kinds)} layers of {layers}')
    unknown = sorted(set(kinds) - {"full_attention", "sliding_attention"})
    if unknown:
        raise UnsupportedModelError(
            f'a layer is of the type "{unknown[0]}"', "byoc builds full_attention and sliding_attention"
        )
    return tuple(window if kind == "sliding_attention" else 0 for kind in kinds)


def _window(fields: Fields) -> int:
    return fields.whole("sliding_window", 0, least=0)
