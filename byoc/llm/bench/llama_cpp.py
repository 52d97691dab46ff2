"""llama.cpp as an engine, through the C functions that ``llama-cpp-python`` binds."""

from __future__ import annotations

import ctypes
import time
from typing import Any

from byoc.errors import ToolchainError, UsageError
from byoc.llm.bench.engine import EngineSpec

KV_TYPES = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0")


class LlamaCpp:
    """Flash attention on, its own sizes of batches, no layer anywhere but on the processor."""

    def __init__(self, spec: EngineSpec) -> None:
        self.c = bindings()
        self.c.llama_log_set(_SILENT, ctypes.c_void_p())
        self.c.llama_backend_init()
        wanted = self.c.llama_model_default_params()
        wanted.n_gpu_layers = 0
        self.model = self.c.llama_model_load_from_file(spec.file.encode(), wanted)
        if not self.model:
            raise UsageError(f"llama.cpp does not load {spec.file}")
        self.context = self.c.llama_init_from_model(self.model, self._settings(spec))
        if not self.context:
            raise UsageError(f"llama.cpp keeps no cache of the type {spec.kv} for {spec.file}")
        self.memory = self.c.llama_get_memory(self.context)
        self.held = 0

    def _settings(self, spec: EngineSpec) -> Any:
        settings = self.c.llama_context_default_params()
        settings.n_ctx = spec.context
        settings.n_threads = settings.n_threads_batch = spec.threads
        settings.type_k = settings.type_v = getattr(self.c, f"GGML_TYPE_{spec.kv.upper()}")
        if hasattr(settings, "flash_attn_type"):
            settings.flash_attn_type = 1
        else:
            settings.flash_attn = True
        self.block = int(settings.n_batch)
        return settings

    def read(self, tokens: list[int]) -> float:
        self.c.llama_memory_clear(self.memory, True)
        self.held = len(tokens)
        begin = time.perf_counter()
        for i in range(0, len(tokens), self.block):
            self._run(tokens[i : i + self.block])
        return time.perf_counter() - begin

    def decode(self, tokens: list[int]) -> float:
        begin = time.perf_counter()
        for token in tokens:
            self._run([token])
        seconds = time.perf_counter() - begin
        if not self.c.llama_memory_seq_rm(self.memory, 0, self.held, -1):
            raise UsageError("llama.cpp does not forget the last tokens of this model")
        return seconds

    def step_bytes(self, held: int) -> int:
        return 0

    def last_logits(self) -> list[float]:
        """After the last token that was read."""
        count = self.c.llama_vocab_n_tokens(self.c.llama_model_get_vocab(self.model))
        return list(self.c.llama_get_logits_ith(self.context, -1)[:count])

    def _run(self, tokens: list[int]) -> None:
        ids = (self.c.llama_token * len(tokens))(*tokens)
        code = self.c.llama_decode(self.context, self.c.llama_batch_get_one(ids, len(tokens)))
        self.c.llama_synchronize(self.context)
        if code:
            raise UsageError(f"llama.cpp failed with code {code} on {len(tokens)} tokens")


def bindings() -> Any:
    """The module ``llama_cpp``.  Raises :class:`ToolchainError` where it is not installed or does not load."""
    try:
        import llama_cpp
    except Exception as error:  # its library may not load, too
        raise ToolchainError(
            "llama.cpp runs through the package llama-cpp-python",
            f"it cannot be imported: {error}",
            'pip install "byoc[llama-cpp]", which compiles it; or leave --llama-cpp out',
        ) from None
    return llama_cpp


@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
def _SILENT(level: int, text: bytes, data: Any) -> None:  # noqa: N802 - an object that C keeps, not a function
    """Say nothing."""
