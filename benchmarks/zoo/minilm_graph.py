"""The example's ONNX builder, which is no package, as a module."""

from __future__ import annotations

import importlib.util
import sys
from functools import lru_cache
from pathlib import Path
from types import ModuleType

BUILDER = Path(__file__).parents[2] / "examples" / "minilm" / "build_onnx.py"


@lru_cache(maxsize=1)
def minilm_builder() -> ModuleType:
    """``examples/minilm/build_onnx.py``."""
    spec = importlib.util.spec_from_file_location("minilm_build_onnx", BUILDER)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
