"""A Llama-like model in NumPy, block by block: what calibration looks at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from byoc.llm.tensors import ModelTensors
from byoc.ops.rope import rotate_reference

Array = np.ndarray[Any, Any]
Watch = Callable[[str, Array], None]


class FloatModel:
    """Computes in float32 with the tensors of a model.

    What is watched is told by name: the input of each linear layer (``layers.0.q``, ``logits``), and what goes into
    the caches before any key transform (``layers.0.keys``, ``layers.0.values``: [texts, tokens, kv_heads, head_dim]).
    """

    def __init__(self, tensors: ModelTensors) -> None:
        self.config, self.tensors = tensors.config, tensors

    def embed(self, tokens: Array) -> Array:
        """int64[texts, tokens] to float32[texts, tokens, hidden]."""
        return np.asarray(self.tensors.floats("embedding")[tokens], np.float32)

    def block(self, i: int, x: Array, watch: Watch) -> Array:
        """One layer of float32[texts, tokens, hidden]."""
        at = f"layers.{i}"
        x = x + self._linear(f"{at}.o", self._attention(i, self._norm(x, f"{at}.input_norm"), watch), watch)
        h = self._norm(x, f"{at}.post_norm")
        gate, up = self._linear(f"{at}.gate", h, watch), self._linear(f"{at}.up", h, watch)
        return x + self._linear(f"{at}.down", gate / (1 + np.exp(-np.maximum(gate, -80))) * up, watch)

    def logits(self, x: Array, watch: Watch) -> Array:
        """float32[texts, tokens, vocabulary]."""
        return self._linear("logits", self.before_logits(x), watch)

    def before_logits(self, x: Array) -> Array:
        """The input of the output layer, float32[texts, tokens, hidden]."""
        return self._norm(x, "final_norm")

    def _attention(self, i: int, h: Array, watch: Watch) -> Array:
        config, at = self.config, f"layers.{i}"
        q, k, v = (
            self._linear(f"{at}.{n}", h, watch).reshape(*h.shape[:2], -1, config.head_dim) for n in ("q", "k", "v")
        )
        if config.qk_norm:
            q, k = self._norm(q, f"{at}.q_norm"), self._norm(k, f"{at}.k_norm")
        start, frequencies = np.zeros(len(h), np.int64), np.asarray(config.rope.frequencies)
        q, k = (rotate_reference(y, start, frequencies, factor=config.rope.factor).astype(np.float32) for y in (q, k))
        watch(f"{at}.keys", k)
        watch(f"{at}.values", v)
        seen = self._seen(i, h.shape[1])
        return np.stack([self._attended(*text, seen) for text in zip(q, k, v, strict=True)])

    def _seen(self, i: int, tokens: int) -> Array:
        """Which tokens (columns) each token (rows) sees in layer i."""
        here, window = np.arange(tokens), self.config.windows[i]
        seen = here[:, None] >= here
        return seen & (here[:, None] < here + window) if window else seen

    def _attended(self, q: Array, k: Array, v: Array, seen: Array) -> Array:
        """[tokens, heads * head_dim] of one text."""
        shared = self.config.heads // self.config.kv_heads
        q, k, v = (y.transpose(1, 0, 2) for y in (q, np.repeat(k, shared, 1), np.repeat(v, shared, 1)))
        scores = np.where(seen, q @ k.transpose(0, 2, 1) * np.float32(self.config.head_dim**-0.5), np.float32(-1e30))
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = weights / weights.sum(-1, keepdims=True) @ v
        return np.asarray(mixed.transpose(1, 0, 2).reshape(len(seen), -1))

    def _norm(self, x: Array, name: str) -> Array:
        scale = 1 / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(self.config.epsilon))
        return np.asarray(x * scale * self.tensors.floats(name))

    def _linear(self, name: str, x: Array, watch: Watch) -> Array:
        watch(name, x)
        y = x @ self.tensors.floats(name).T
        bias = self.tensors.bias(name)
        return np.asarray(y if bias is None else y + bias)
