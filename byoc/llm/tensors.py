"""Tensors of a model under byoc's own names: those of a checkpoint, and what calibration puts in their place."""

from __future__ import annotations

from typing import Any

import numpy as np

from byoc.errors import ModelFileError
from byoc.llm.checkpoint import Checkpoint
from byoc.llm.config import ModelConfig
from byoc.llm.packed_checkpoint import read_packed
from byoc.llm.weights import PackedWeights
from byoc.ops.linear import unpack

Array = np.ndarray[Any, Any]


class ModelTensors:
    """Names: ``embedding``, ``final_norm``, ``logits``, ``frequencies``, and for each layer i ``layers.i.`` with
    ``input_norm``, ``post_norm``, ``q``, ``k``, ``v``, ``o``, ``gate``, ``up``, ``down``, ``q_norm``, ``k_norm``.

    Attributes
    ----------
    quantised, replaced: linear layers as integers, and other tensors, that calibration put in the checkpoint's place.
    """

    def __init__(self, config: ModelConfig, checkpoint: Checkpoint) -> None:
        self.config, self.checkpoint = config, checkpoint
        self.quantised: dict[str, PackedWeights] = {}
        self.replaced: dict[str, Array] = {}

    @property
    def linear_layers(self) -> list[str]:
        """The names of linear layers, as the model reads them; the output layer is the last."""
        layers = range(self.config.layers)
        return [*(f"layers.{i}.{n}" for i in layers for n in ("q", "k", "v", "o", "gate", "up", "down")), "logits"]

    @property
    def constants(self) -> list[str]:
        """The names of all other tensors."""
        norms = ("input_norm", "post_norm", *(("q_norm", "k_norm") if self.config.qk_norm else ()))
        layers = range(self.config.layers)
        return ["embedding", "frequencies", "final_norm", *(f"layers.{i}.{n}" for i in layers for n in norms)]

    def floats(self, name: str) -> Array:
        """A tensor as float32, what integers stand for where it has become such; a linear layer as [outputs, inputs].

        Raises :class:`ModelFileError`.
        """
        if name in self.replaced:
            return self.replaced[name]
        if name == "frequencies":
            return np.asarray(self.config.rope.frequencies, np.float32)
        packed = self.packed(name)
        if packed is not None:
            return _unpacked(packed)
        return self.checkpoint.floats(self.source_name(name), self._shape(name))

    def bias(self, name: str) -> Array | None:
        """The bias of a linear layer, float32[outputs], or None."""
        if not self._has_bias(name):
            return None
        if f"{name}.bias" in self.replaced:
            return self.replaced[f"{name}.bias"]
        source = self.source_name(name).removesuffix("weight") + "bias"
        return self.checkpoint.floats(source, self._shape(name)[:1])

    def packed(self, name: str) -> PackedWeights | None:
        """A linear layer as integers: those of calibration, or of the checkpoint itself; None where it is of floats."""
        if name in self.quantised:
            return self.quantised[name]
        form, prefix = self.config.packed, self.source_name(name).removesuffix(".weight")
        if f"{prefix}.qweight" not in self.checkpoint:
            return None
        if form is None:
            raise ModelFileError(
                f'the checkpoint holds "{prefix}" as integers, and config.json does not say how',
                'it has no field "quantization_config"',
                "use the config.json that belongs to the checkpoint",
            )
        return read_packed(self.checkpoint, prefix, form, self._shape(name))

    def replace(self, name: str, array: Array) -> None:
        """Use `array` for a tensor, or with the suffix ``.bias`` for a bias."""
        self.replaced[name] = np.asarray(array, np.float32)

    def pack(self, name: str, packed: PackedWeights) -> None:
        """Use these integers for a linear layer."""
        self.quantised[name] = packed
        self.replaced.pop(name, None)

    def source_name(self, name: str) -> str:
        """The checkpoint's name of a tensor."""
        top = {"embedding": "model.embed_tokens.weight", "final_norm": "model.norm.weight"}
        if name in top:
            return top[name]
        if name == "logits":
            return top["embedding"] if self.config.tied else "lm_head.weight"
        layer, part = name.rsplit(".", 1)
        return f"model.{layer}.{_PARTS[part]}.weight"

    def _has_bias(self, name: str) -> bool:
        part = name.rsplit(".", 1)[-1]
        if part in ("q", "k", "v"):
            return self.config.qkv_bias
        return self.config.output_bias if part == "o" else self.config.mlp_bias and part in ("gate", "up", "down")

    def _shape(self, name: str) -> tuple[int, ...]:
        c, part = self.config, name.rsplit(".", 1)[-1]
        if part in ("q", "k", "v"):
            return ((c.heads if part == "q" else c.kv_heads) * c.head_dim, c.hidden)
        return {
            "embedding": (c.vocabulary, c.hidden), "logits": (c.vocabulary, c.hidden), "final_norm": (c.hidden,),
            "input_norm": (c.hidden,), "post_norm": (c.hidden,), "q_norm": (c.head_dim,), "k_norm": (c.head_dim,),
            "o": (c.hidden, c.heads * c.head_dim), "down": (c.hidden, c.intermediate),
            "gate": (c.intermediate, c.hidden), "up": (c.intermediate, c.hidden),
        }[part]  # fmt: skip


def _unpacked(packed: PackedWeights) -> Array:
    ordered = unpack(packed.packed, packed.scale, packed.zero, packed.bits)
    if packed.order is None:
        return ordered
    weight = np.empty_like(ordered)
    weight[:, packed.order] = ordered
    return weight


_PARTS = {
    "input_norm": "input_layernorm", "post_norm": "post_attention_layernorm", "q": "self_attn.q_proj",
    "k": "self_attn.k_proj", "v": "self_attn.v_proj", "o": "self_attn.o_proj", "q_norm": "self_attn.q_norm",
    "k_norm": "self_attn.k_norm", "gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj",
}  # fmt: skip
