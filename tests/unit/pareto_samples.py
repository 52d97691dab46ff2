"""A small model, four configurations of it, and what measuring one gives."""

from __future__ import annotations

from collections.abc import Sequence

from byoc.llm.config import ModelConfig
from byoc.llm.rope_scaling import Rope
from byoc.pareto.configuration import Configuration
from byoc.pareto.evaluate import Outcome
from byoc.pareto.memory import Memory

CONFIG = ModelConfig(
    architecture="LlamaForCausalLM", hidden=64, intermediate=96, layers=4, heads=4, kv_heads=2, head_dim=16,
    vocabulary=50, epsilon=1e-5, rope=Rope((1.0,) * 8, 1.0), tied=False, qkv_bias=False, output_bias=False,
    mlp_bias=False, qk_norm=False, windows=(0, 0, 0, 0), longest=128, begin=1, end=(2,),
)  # fmt: skip
A, B, C, D = (Configuration(kv, "f32", 8) for kv in ("k2v2", "k4v4", "k8v8", "k16v16"))


def outcome(configuration: Configuration, total: int, scores: Sequence[float]) -> Outcome:
    return Outcome(configuration, {"t": [(s, 1.0) for s in scores]}, Memory(total, 0, 0))
