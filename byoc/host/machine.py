"""What the schedules need to know of the CPU that they are for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tvm


@dataclass(frozen=True)
class Machine:
    """Bytes in a vector register, and how many registers there are."""

    vector_bytes: int
    registers: int

    def lanes(self, dtype: str) -> int:
        """Elements of `dtype` in a vector register."""
        return self.vector_bytes // (4 if dtype.endswith("32") else 8)


def machine_of(target: Any) -> Machine:
    """The vector registers of a target; of unknown CPUs, those of SSE2 and NEON."""
    has = tvm.target.codegen.llvm_cpu_has_features
    if str(target.attrs.get("mtriple", "")).startswith(("aarch64", "arm")):
        return Machine(16, 32)
    if has("avx512f", target):
        return Machine(64, 32)
    if has("avx2", target):
        return Machine(32, 16)
    return Machine(16, 16)
