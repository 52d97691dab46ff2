"""Running artifacts; needs TVM's runtime, not its compiler."""

from __future__ import annotations

from byoc.runtime.session import Session, load
from byoc.runtime.tensors import aligned_copy, aligned_empty
from byoc.runtime.threads import prepare_pool

__all__ = ["Session", "aligned_copy", "aligned_empty", "load", "prepare_pool"]
