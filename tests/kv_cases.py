"""Attention over caches as a model of its own, for the host and for codegens, and what it should compute."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax, tirx

import byoc
from byoc.llm import kv_reference
from byoc.llm.kv_layout import cache_layouts
from byoc.llm.kv_spec import FixedScale, KVSpec
from byoc.ops import STATES
from byoc.ops.kv_append import append_tokens
from byoc.ops.kv_attention import attend

FIXED = FixedScale(0.05, -3.0)
SPECS = [
    "k32v32", "k16v16", "k8v8:g8", "k4v4:g4", "k4v2:g8", "k2v2:g4:symmetric", "k8v4:g8:symmetric",
    "k4v4:g4:k.per-channel", "k2v2:g4:per-channel", "k4v4:g4:per-block", "k8v8:g8:per-tensor",
    "k8v4:g8:per-tensor:symmetric", "k4v4:g8:mean", "k32v8:g8:mean",
]  # fmt: skip


class AttentionModel:
    """Appends keys and values to caches and attends over them, compiled for `targets`."""

    def __init__(
        self, spec: str, targets: tuple[str, ...] = (), *, batch: int = 2, heads: int = 4, kv_heads: int = 2,
        dim: int = 8, capacity: int = 16, window: int = 0, tokens: int | None = None,
    ) -> None:  # fmt: skip
        self.batch, self.heads, self.kv_heads, self.dim, self.window = batch, heads, kv_heads, dim, window
        self.layouts = cache_layouts(KVSpec.parse(spec), dim, capacity)
        self.plan = byoc.partition(self._module(tokens), targets)
        self.session = byoc.compile(self.plan, use_cache=False).session()
        self.wanted = [np.zeros((batch, kv_heads, layout.nbytes), np.uint8) for layout in self.layouts]

    @property
    def caches(self) -> list[np.ndarray]:
        return [self.session.state.arrays[f"{name}_cache"] for name in "kv"]

    def random_inputs(self, random: np.random.Generator, tokens: int) -> dict[str, np.ndarray]:
        shape = (self.batch, tokens, self.kv_heads, self.dim)
        return {
            "query": random.standard_normal((self.batch, tokens, self.heads, self.dim), np.float32),
            "k": random.standard_normal(shape, np.float32) + 1,
            "v": random.standard_normal(shape, np.float32),
        }

    def run(self, inputs: dict[str, np.ndarray], lengths: Any, counts: Any = None) -> np.ndarray:
        counts = [inputs["query"].shape[1]] * self.batch if counts is None else counts
        return self.session.run({**inputs, "lengths": np.array(lengths), "counts": np.array(counts)})["output"]

    def reference(self, inputs: dict[str, np.ndarray], lengths: Any, counts: Any = None) -> np.ndarray:
        """What :meth:`run` should return; appends to the caches in `wanted`."""
        query = inputs["query"]
        counts = [query.shape[1]] * self.batch if counts is None else counts
        for layout, cache, name in zip(self.layouts, self.wanted, "kv", strict=True):
            kv_reference.append(layout, cache, inputs[name], np.array(lengths), np.array(counts), FIXED)
        results = np.zeros_like(query)
        for b, (length, count) in enumerate(zip(lengths, counts, strict=True)):
            k, v = (
                np.stack([kv_reference.read(layout, region, length + count, FIXED) for region in cache[b]])
                for layout, cache in zip(self.layouts, self.wanted, strict=True)
            )
            real = query[b, :count]
            results[b, :count] = kv_reference.attend(real, k, v, length, self.dim**-0.5, self.window)
        return results

    def _module(self, tokens: int | None) -> Any:
        n = tokens or tirx.Var("n", "int64")
        query = relax.Var("query", relax.TensorType((self.batch, n, self.heads, self.dim), "float32"))
        kind = relax.TensorType((self.batch, n, self.kv_heads, self.dim), "float32")
        new = [relax.Var(name, kind) for name in "kv"]
        lengths, counts = (relax.Var(name, relax.TensorType((self.batch,), "int64")) for name in ("lengths", "counts"))
        caches = [
            relax.Var(f"{name}_cache", relax.TensorType((self.batch, self.kv_heads, layout.nbytes), "uint8"))
            for name, layout in zip("kv", self.layouts, strict=True)
        ]
        builder = relax.BlockBuilder()
        attrs = {STATES: [str(c.name) for c in caches]}
        with builder.function("main", [query, *new, lengths, counts, *caches], attrs=attrs):
            with builder.dataflow():
                keys, values = (
                    builder.emit(append_tokens(cache, x, lengths, counts, layout, FIXED))
                    for cache, x, layout in zip(caches, new, self.layouts, strict=True)
                )
                call = attend(
                    query, keys, values, lengths, counts, self.layouts, (FIXED, FIXED),
                    scale=self.dim**-0.5, window=self.window,
                )  # fmt: skip
                result = builder.emit_output(builder.emit(call))
            builder.emit_func_output(result)
        return builder.get()
