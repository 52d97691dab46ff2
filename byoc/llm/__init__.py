"""Language models: compile a Hugging Face folder, generate text from the artifact.

Names are loaded when first used, so that running an artifact does not import a compiler.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    # compiling
    "language_model": "byoc.llm.model",
    "LanguageModel": "byoc.llm.model",
    "Settings": "byoc.llm.settings",
    "KVSpec": "byoc.llm.kv_spec",
    "CacheFormat": "byoc.llm.kv_spec",
    "FixedScale": "byoc.llm.kv_spec",
    "parse_kv": "byoc.llm.settings",
    "WeightSpec": "byoc.llm.weights",
    "read_calibration": "byoc.llm.calibration_text",
    # running
    "load": "byoc.llm.session",
    "LanguageSession": "byoc.llm.session",
    "Sampling": "byoc.llm.sampling",
    "Tokenizer": "byoc.llm.tokenizer",
    "TextStream": "byoc.llm.tokenizer",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'byoc.llm' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
