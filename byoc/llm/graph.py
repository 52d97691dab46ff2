"""The Relax functions of a Llama-like model: prefill, decode and score, over shared weights and caches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relax, tirx

from byoc.importer.origin import Origin, with_origin
from byoc.llm.cache_state import state_layouts
from byoc.llm.config import ModelConfig
from byoc.llm.kv_spec import FixedScale
from byoc.llm.layers import Layer, ModelWeights
from byoc.llm.settings import Settings
from byoc.ops import STATES
from byoc.ops.hadamard import rotated
from byoc.ops.kv_append import append_tokens
from byoc.ops.kv_attention import attend
from byoc.ops.rope import rotate
from byoc.ops.swiglu import gated

ENTRIES = ("decode", "prefill", "score")


def build_module(
    config: ModelConfig, weights: ModelWeights, settings: Settings, facts: Mapping[str, Any]
) -> tvm.IRModule:
    """The module with three entry functions; `facts` are those of the manifest.

    All take ``tokens`` int64[batch, n], ``lengths`` int64[batch], the tokens that each sequence's caches hold, and
    ``counts`` int64[batch], how many of the n tokens are real and go into the caches, which are the functions' states.

    ``prefill`` also takes ``rows`` int64[batch]: the place of each sequence's last token in ``tokens``, flattened; it
    returns the logits there, float32[batch, vocabulary].  ``decode`` has n = 1 and returns float32[batch,
    vocabulary].  ``score`` returns the logits of all tokens, float32[batch, n, vocabulary].
    """
    weights.read()  # before a function is begun: TVM warns of one that an error leaves open
    builder = relax.BlockBuilder()
    for name in ENTRIES:
        _Function(builder, name, config, weights, settings, facts).build()
    module = builder.get()
    relax.analysis.well_formed(module)
    return module


@dataclass
class _Function:
    builder: relax.BlockBuilder
    name: str
    config: ModelConfig
    weights: ModelWeights
    settings: Settings
    facts: Mapping[str, Any]

    def build(self) -> None:
        batch = self.settings.batch
        count: Any = 1 if self.name == "decode" else tirx.Var("n", "int64")
        self.count = count
        self.tokens = relax.Var("tokens", relax.TensorType((batch, count), "int64"))
        self.lengths = relax.Var("lengths", relax.TensorType((batch,), "int64"))
        self.counts = relax.Var("counts", relax.TensorType((batch,), "int64"))
        inputs = [self.tokens, self.lengths, self.counts]
        if self.name == "prefill":
            inputs.append(relax.Var("rows", relax.TensorType((batch,), "int64")))
        self.layouts = state_layouts(self.facts)
        caches = [self._caches(i) for i in range(self.config.layers)]
        states = [cache for pair in caches for cache in pair]
        attrs = {STATES: [str(s.name) for s in states]}
        with self.builder.function(self.name, [*inputs, *states], attrs=attrs):
            with self.builder.dataflow():
                x = self._embedding()
                for i, pair in enumerate(caches):
                    x = self._block(i, x, pair)
                result = self.builder.emit_output(self._logits(x, inputs))
            self.builder.emit_func_output(result)

    def _embedding(self) -> Any:
        table = self._constant("embedding")
        x = self._emit("embedding", "Embedding", relax.op.take(table, self.tokens, axis=0, mode="clip"))
        if str(table.ty.dtype) == "float32":
            return x
        return self._emit("embedding/cast", "Cast", relax.op.astype(x, "float32"))

    def _caches(self, layer: int) -> tuple[Any, Any]:
        names = ("keys", "values")
        kinds = [
            relax.TensorType((self.settings.batch, self.config.kv_heads, layout.nbytes), "uint8")
            for layout in self.layouts[layer]
        ]
        keys, values = (relax.Var(f"{n}.{layer}", kind) for n, kind in zip(names, kinds, strict=True))
        return keys, values

    def _emit(self, node: str, op_type: str, call: Any) -> Any:
        return self.builder.emit(with_origin(call, Origin(node, op_type)))

    def _constant(self, name: str) -> Any:
        return self.weights.constant(name)

    def _norm(self, node: str, x: Any, weight: str) -> Any:
        call = relax.op.nn.rms_norm(x, self._constant(weight), axes=[-1], epsilon=self.config.epsilon)
        return self._emit(node, "RMSNorm", call)

    def _linear(self, node: str, x: Any, layer: Layer) -> Any:
        result = self._emit(node, "Linear", layer.call(x))
        if layer.bias is not None:
            result = self._emit(f"{node}/bias", "Add", relax.op.add(result, layer.bias))
        return result

    def _block(self, i: int, x: Any, caches: tuple[Any, Any]) -> Any:
        at = f"layers.{i}"
        attended = self._attention(i, self._norm(f"{at}/input_norm", x, f"{at}.input_norm"), caches)
        x = self._emit(f"{at}/attention/add", "Add", relax.op.add(x, attended))
        h = self._norm(f"{at}/post_norm", x, f"{at}.post_norm")
        gate, up = (self._linear(f"{at}/mlp/{n}", h, self.weights.layer(f"{at}.{n}")) for n in ("gate", "up"))
        h = self._emit(f"{at}/mlp/swiglu", "SwiGLU", gated(gate, up))
        h = self._linear(f"{at}/mlp/down", h, self.weights.layer(f"{at}.down"))
        return self._emit(f"{at}/mlp/add", "Add", relax.op.add(x, h))

    def _attention(self, i: int, x: Any, caches: tuple[Any, Any]) -> Any:
        config, at = self.config, f"layers.{i}/attention"
        q, k, v = (self._heads(i, n, x) for n in ("q", "k", "v"))
        if config.qk_norm:
            q, k = (self._norm(f"{at}/{n}_norm", y, f"layers.{i}.{n}_norm") for n, y in (("q", q), ("k", k)))
        frequencies = self._constant("frequencies")
        q, k = (
            self._emit(f"{at}/{n}_rope", "RoPE", rotate(y, self.lengths, frequencies, factor=config.rope.factor))
            for n, y in (("q", q), ("k", k))
        )
        if self.settings.kv_of(i).key_transform == "hadamard":
            q, k = (self._emit(f"{at}/{n}_hadamard", "Hadamard", rotated(y)) for n, y in (("q", q), ("k", k)))
        layouts = self.layouts[i]
        fixed = self.settings.fixed_scales[i] if self.settings.fixed_scales else (FixedScale(), FixedScale())
        keys, values = (
            self._emit(
                f"{at}/{n}_append", "KVAppend", append_tokens(cache, y, self.lengths, self.counts, layout, scale)
            )
            for n, cache, y, layout, scale in zip("kv", caches, (k, v), layouts, fixed, strict=True)
        )
        call = attend(
            q, keys, values, self.lengths, self.counts, layouts, fixed,
            scale=config.head_dim**-0.5, window=config.windows[i],
        )  # fmt: skip
        mixed = self._emit(f"{at}/attend", "KVAttention", call)
        flat = relax.ShapeExpr([self.settings.batch, self.count, config.heads * config.head_dim])
        mixed = self._emit(f"{at}/merge", "Reshape", relax.op.reshape(mixed, flat))
        return self._linear(f"{at}/o", mixed, self.weights.layer(f"layers.{i}.o"))

    def _heads(self, i: int, name: str, x: Any) -> Any:
        node = f"layers.{i}/attention/{name}"
        y = self._linear(node, x, self.weights.layer(f"layers.{i}.{name}"))
        heads = self.config.heads if name == "q" else self.config.kv_heads
        shape = relax.ShapeExpr([self.settings.batch, self.count, heads, self.config.head_dim])
        return self._emit(f"{node}/split", "Reshape", relax.op.reshape(y, shape))

    def _logits(self, x: Any, inputs: list[Any]) -> Any:
        if self.name == "prefill":
            flat = relax.ShapeExpr([self.settings.batch * self.count, self.config.hidden])
            x = self._emit("last/flatten", "Reshape", relax.op.reshape(x, flat))
            x = self._emit("last", "Gather", relax.op.take(x, inputs[3], axis=0, mode="clip"))
        elif self.name == "decode":
            flat = relax.ShapeExpr([self.settings.batch, self.config.hidden])
            x = self._emit("last/flatten", "Reshape", relax.op.reshape(x, flat))
        return self._linear("logits", self._norm("final_norm", x, "final_norm"), self.weights.layer("logits"))
