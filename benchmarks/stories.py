"""A checkpoint of llama2.c with its tokenizer, in the layout of Hugging Face.

    python -m benchmarks.stories FOLDER_OF_STORIES260K TEXT FOLDER

writes config.json, model.safetensors, and the token ids of the stories in TEXT as ids.npy.
"""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path

import numpy as np


def convert(checkpoint: Path, folder: Path) -> Path:
    """Write config.json and model.safetensors.

    The file holds seven int32 (dim, hidden, layers, heads, kv heads, vocabulary, context), then float32 tensors; a
    positive vocabulary says that the output layer is the embedding.  Its rotary embedding turns neighbouring channels.
    """
    from safetensors.numpy import save_file

    raw = checkpoint.read_bytes()
    dim, hidden, layers, heads, kv_heads, vocabulary, context = struct.unpack("7i", raw[:28])
    assert vocabulary > 0, "a separate output layer is not expected"
    floats, at = np.frombuffer(raw, np.float32, offset=28), 0

    def take(*shape: int) -> np.ndarray:
        nonlocal at
        at += int(np.prod(shape))
        return floats[at - int(np.prod(shape)) : at].reshape(shape)

    kv = dim // heads * kv_heads
    tensors = {"model.embed_tokens.weight": take(vocabulary, dim)}
    stacks = {
        "input_layernorm": take(layers, dim), "self_attn.q_proj": take(layers, dim, dim),
        "self_attn.k_proj": take(layers, kv, dim), "self_attn.v_proj": take(layers, kv, dim),
        "self_attn.o_proj": take(layers, dim, dim), "post_attention_layernorm": take(layers, dim),
        "mlp.gate_proj": take(layers, hidden, dim), "mlp.down_proj": take(layers, dim, hidden),
        "mlp.up_proj": take(layers, hidden, dim),
    }  # fmt: skip
    for name, count in (("self_attn.q_proj", heads), ("self_attn.k_proj", kv_heads)):
        stacks[name] = np.stack([_halves(matrix, count) for matrix in stacks[name]])
    for name, stack in stacks.items():
        tensors |= {f"model.layers.{i}.{name}.weight": np.ascontiguousarray(stack[i]) for i in range(layers)}
    tensors["model.norm.weight"] = take(dim)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, folder / "model.safetensors")
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": dim, "intermediate_size": hidden,
        "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv_heads,
        "vocab_size": vocabulary, "max_position_embeddings": context, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def _halves(matrix: np.ndarray, heads: int) -> np.ndarray:
    """Rows of neighbouring pairs of channels as the two halves of each head."""
    dim = matrix.shape[0] // heads
    return matrix.reshape(heads, dim // 2, 2, -1).swapaxes(1, 2).reshape(matrix.shape)


class StoryTokenizer:
    """Byte-pair merges by score, the best pair first, as llama2.c does it."""

    def __init__(self, path: Path) -> None:
        raw, at = path.read_bytes(), 4
        self.pieces: dict[bytes, int] = {}
        self.scores: list[float] = []
        while at < len(raw):
            score, length = struct.unpack("fi", raw[at : at + 8])
            self.pieces.setdefault(raw[at + 8 : at + 8 + length], len(self.scores))
            self.scores.append(score)
            at += 8 + length

    def encode(self, text: str) -> list[int]:
        """Token ids, BOS first."""
        ids: list[int] = []
        for character in " " + text:
            piece = character.encode()
            ids += [self.pieces[piece]] if piece in self.pieces else [byte + 3 for byte in piece]
        texts = {i: piece for piece, i in self.pieces.items()}
        while True:
            found = [
                (-self.scores[merged], k, merged)
                for k in range(len(ids) - 1)
                if (merged := self.pieces.get(texts.get(ids[k], b"\0") + texts.get(ids[k + 1], b"\0"), -1)) >= 0
            ]
            if not found:
                return [1, *ids]
            _, k, merged = min(found)
            ids[k : k + 2] = [merged]


def stories_in(text: str) -> list[str]:
    """Pieces of some 700 characters, whole paragraphs each: nothing marks where a story ends."""
    pieces = [""]
    for paragraph in text.split("\n\n"):
        pieces[-1] += paragraph + "\n\n"
        if len(pieces[-1]) > 700:
            pieces.append("")
    return [piece.strip() for piece in pieces[:-1]]


def model_with_text(source: Path, text: Path, folder: Path) -> Path:
    """The model of stories260K in `folder`, beside it ids.npy: int64 token ids of the stories, BOS before each."""
    convert(source / "stories260K.bin", folder)
    tokenizer = StoryTokenizer(source / "tok512.bin")
    np.save(folder / "ids.npy", np.concatenate([tokenizer.encode(s) for s in stories_in(text.read_text("utf-8"))]))
    return folder


if __name__ == "__main__":
    model_with_text(*map(Path, sys.argv[1:4]))
