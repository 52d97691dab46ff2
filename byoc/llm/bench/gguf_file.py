"""A Hugging Face folder as a GGUF file for llama.cpp, with weights of the wanted type."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from byoc.errors import ToolchainError, UnsupportedModelError, UsageError
from byoc.llm.checkpoint import Checkpoint
from byoc.llm.config import ModelConfig, read_config
from byoc.llm.tensors import ModelTensors

Array = np.ndarray[Any, Any]
WEIGHT_TYPES = {32: "F32", 16: "F16", 8: "Q8_0", 4: "Q4_0"}
_NAMES = {"LlamaForCausalLM": "llama", "MistralForCausalLM": "llama", "Qwen2ForCausalLM": "qwen2",
          "Qwen3ForCausalLM": "qwen3"}  # fmt: skip
_PARTS = {"input_norm": "attn_norm", "post_norm": "ffn_norm", "q": "attn_q", "k": "attn_k", "v": "attn_v",
          "o": "attn_output", "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down", "q_norm": "attn_q_norm",
          "k_norm": "attn_k_norm"}  # fmt: skip
_THETA = 10000.0


def write_gguf(folder: str | Path, path: str | Path, bits: int) -> Path:
    """Write the weights, linear layers in llama.cpp's format of `bits` bits, without a vocabulary.

    The file is written whole or not at all.  Raises :class:`ToolchainError` without the package gguf,
    :class:`UsageError` for other bits, :class:`UnsupportedModelError` for what llama.cpp computes otherwise (windows).
    """
    gguf = _package()
    if bits not in WEIGHT_TYPES:
        raise UsageError(f"llama.cpp keeps no weights of {bits} bits here", "", f"use one of {sorted(WEIGHT_TYPES)}")
    config = read_config(folder)
    if any(config.windows):
        raise UnsupportedModelError(
            "the model has sliding windows", "llama.cpp gives models of this architecture none", "compare another"
        )
    partial = Path(f"{os.fspath(path)}.{os.getpid()}")
    try:
        writer = gguf.GGUFWriter(str(partial), _NAMES[config.architecture])
        _write_settings(writer, config)
        tensors = ModelTensors(config, Checkpoint(folder))
        for name in _tensor_names(tensors):
            _write_tensor(gguf, writer, tensors, name, WEIGHT_TYPES[bits])
        _write_stretch(writer, config)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return Path(path)


def _write_settings(writer: Any, config: ModelConfig) -> None:
    writer.add_vocab_size(config.vocabulary)
    writer.add_tokenizer_model("none")
    writer.add_context_length(config.longest)
    writer.add_embedding_length(config.hidden)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.intermediate)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(2 * len(config.rope.frequencies))
    writer.add_rope_freq_base(_THETA)
    writer.add_layer_norm_rms_eps(config.epsilon)


def _tensor_names(tensors: ModelTensors) -> list[str]:
    left_out = {"frequencies", "logits"} if tensors.config.tied else {"frequencies"}
    return [name for name in (*tensors.constants, *tensors.linear_layers) if name not in left_out]


def _write_tensor(gguf: Any, writer: Any, tensors: ModelTensors, name: str, kind: str) -> None:
    config, part = tensors.config, name.rsplit(".", 1)[-1]
    array, bias = _interleaved(config, part, tensors.floats(name)), tensors.bias(name)
    if bias is not None:
        writer.add_tensor(f"{_gguf_name(name)}.bias", _interleaved(config, part, bias))
    if array.ndim == 1:
        writer.add_tensor(f"{_gguf_name(name)}.weight", array)
        return
    if name == "embedding" and not config.tied and kind != "F32":
        kind = "F16"  # rows are looked up; it does not matter for speed
    wanted = gguf.GGMLQuantizationType[kind]
    writer.add_tensor(f"{_gguf_name(name)}.weight", gguf.quants.quantize(array, wanted), raw_dtype=wanted)


def _gguf_name(name: str) -> str:
    top = {"embedding": "token_embd", "final_norm": "output_norm", "logits": "output"}
    if name in top:
        return top[name]
    _, layer, part = name.split(".")
    return f"blk.{layer}.{_PARTS[part]}"


def _interleaved(config: ModelConfig, part: str, array: Array) -> Array:
    """llama.cpp turns neighbouring channels of its architecture ``llama``, checkpoints have the halves of a head."""
    if _NAMES[config.architecture] != "llama" or part not in ("q", "k"):
        return array
    heads = config.heads if part == "q" else config.kv_heads
    halves = array.reshape(heads, 2, config.head_dim // 2, *array.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(array.shape)


def _write_stretch(writer: Any, config: ModelConfig) -> None:
    """Frequencies that are not those of the plain base, as llama.cpp's divisors of each pair."""
    found = np.asarray(config.rope.frequencies, np.float64)
    plain = _THETA ** -(np.arange(len(found)) / len(found))
    if config.rope.factor != 1.0:
        writer.add_rope_scaling_attn_factors(config.rope.factor)
    if not np.allclose(found, plain, rtol=1e-5):
        writer.add_tensor("rope_freqs.weight", (plain / found).astype(np.float32))


def _package() -> Any:
    try:
        import gguf
    except ImportError:
        raise ToolchainError(
            "GGUF files are written with the package gguf", "it is not installed", 'pip install "byoc[llama-cpp]"'
        ) from None
    return gguf
