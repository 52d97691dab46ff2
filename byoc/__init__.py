"""Bring your own codegen: cut a model, give each part to its codegen, compile the rest with TVM, run one artifact.

Names are loaded when first used, so that loading an artifact does not import a compiler.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    # planning and compiling
    "partition": "byoc.compiler",
    "compile": "byoc.compiler",
    "Plan": "byoc.partitioner.plan",
    "Partition": "byoc.partitioner.plan",
    "Verdict": "byoc.partitioner.plan",
    "quantize": "byoc.quant",
    "QuantizedModel": "byoc.quant",
    "quantize_dynamic": "byoc.quant",
    "DynamicModel": "byoc.quant",
    "requantise": "byoc.quant.fixed_point",
    # running
    "load": "byoc.runtime",
    "Session": "byoc.runtime",
    "Artifact": "byoc.artifact",
    # writing a codegen
    "Codegen": "byoc.codegen",
    "register_codegen": "byoc.registry",
    "op": "byoc.patterns",
    "const": "byoc.patterns",
    "optional": "byoc.patterns",
    "tvm_pattern": "byoc.tvm_pattern",
    "reject": "byoc.codegen",
    "Match": "byoc.codegen",
    "Value": "byoc.graph",
    "Dim": "byoc.dim",
    "Option": "byoc.codegen",
    "Peaks": "byoc.codegen",
    "CSource": "byoc.codegen",
    "RuntimeModule": "byoc.codegen",
    "PyFunc": "byoc.codegen",
    # teaching the importer an operator
    "register_lowering": "byoc.importer.table",
    # KV caches of language models
    "CacheLayout": "byoc.llm.kv_layout",
    "FixedScale": "byoc.llm.kv_spec",
    "cache_layout": "byoc.ops.kv_attrs",
    # targets
    "list_targets": "byoc.registry",
    "load_plugin": "byoc.registry",
    "ByocError": "byoc.errors",
    "Cache": "byoc.cache",
}

__all__ = sorted(_HOMES)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'byoc' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
