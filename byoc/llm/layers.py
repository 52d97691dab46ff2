"""Weights of a model under byoc's own names, as Relax constants that all entry functions share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relax

from byoc.llm.checkpoint import Checkpoint
from byoc.llm.config import ModelConfig
from byoc.llm.weights import PackedWeights, WeightSpec, round_to_nearest
from byoc.ops.linear import linear

Array = np.ndarray[Any, Any]
Quantise = Callable[[str, Array], PackedWeights]


@dataclass(frozen=True)
class Layer:
    """A linear layer: `call` makes its Relax call, `bias` is a constant or None."""

    call: Callable[[Any], Any]
    bias: Any = None
    nbytes: int = 0


class ModelWeights:
    """Constants and linear layers by name; each is made once.

    Names: ``embedding``, ``final_norm``, ``logits``, ``frequencies``, and for each layer i ``layers.i.`` with
    ``input_norm``, ``post_norm``, ``q``, ``k``, ``v``, ``o``, ``gate``, ``up``, ``down``, ``q_norm``, ``k_norm``.
    """

    def __init__(
        self, config: ModelConfig, checkpoint: Checkpoint, spec: WeightSpec, quantise: Quantise | None = None
    ) -> None:
        self.config, self.checkpoint, self.spec = config, checkpoint, spec
        self.quantise = quantise or (lambda _, w: round_to_nearest(w, spec.bits, spec.group))
        self._constants: dict[str, Any] = {}
        self._layers: dict[str, Layer] = {}

    def constant(self, name: str) -> Any:
        """A tensor that is used as it is: embedding, norms, frequencies."""
        if name not in self._constants:
            self._constants[name] = _relax_constant(self._floats(name))
        return self._constants[name]

    def layer(self, name: str) -> Layer:
        """A linear layer in the format of `spec`."""
        if name not in self._layers:
            self._layers[name] = self._make_layer(name)
        return self._layers[name]

    def _floats(self, name: str) -> Array:
        if name == "frequencies":
            return np.asarray(self.config.rope.frequencies, np.float32)
        return self.checkpoint.floats(self.source_name(name), self._shape(name))

    def _make_layer(self, name: str) -> Layer:
        weight = self._floats(name)
        bias = (
            _relax_constant(self.checkpoint.floats(self._bias_name(name), weight.shape[:1]))
            if self._has_bias(name)
            else None
        )
        if self.spec.is_float:
            matrix = _relax_constant(np.ascontiguousarray(weight.T))
            return Layer(lambda x: relax.op.matmul(x, matrix), bias, weight.nbytes)
        packed = self.quantise(name, weight)
        parts = [_relax_constant(a) for a in (packed.packed, packed.scale, packed.zero)]
        return Layer(lambda x: linear(x, *parts, bits=packed.bits, group=packed.group), bias, packed.nbytes)

    def source_name(self, name: str) -> str:
        """The checkpoint's name of a tensor."""
        top = {"embedding": "model.embed_tokens.weight", "final_norm": "model.norm.weight"}
        if name in top:
            return top[name]
        if name == "logits":
            return top["embedding"] if self.config.tied else "lm_head.weight"
        layer, part = name.rsplit(".", 1)
        return f"model.{layer}.{_PARTS[part]}.weight"

    def _bias_name(self, name: str) -> str:
        return self.source_name(name).removesuffix("weight") + "bias"

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


_PARTS = {
    "input_norm": "input_layernorm", "post_norm": "post_attention_layernorm", "q": "self_attn.q_proj",
    "k": "self_attn.k_proj", "v": "self_attn.v_proj", "o": "self_attn.o_proj", "q_norm": "self_attn.q_norm",
    "k_norm": "self_attn.k_norm", "gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj",
}  # fmt: skip


def _relax_constant(array: Array) -> Any:
    return relax.const(tvm.runtime.tensor(np.ascontiguousarray(array)))
