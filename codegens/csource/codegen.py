"""The codegen class: merges the tables of the op families."""

from __future__ import annotations

from typing import Any, ClassVar

from byoc_codegens.csource import (
    conv,
    conv_transpose,
    integer_conv,
    integer_elementwise,
    integer_matmul,
    matmul,
    pool,
    scale_shift,
)
from byoc_codegens.csource.family import kernels_by_pattern
from byoc_codegens.csource.single_ops import SINGLE_OPS

from byoc import Codegen, Match, Option, Peaks, register_codegen

# Families whose patterns span several ops stand before those whose patterns are single ops.
FAMILIES: tuple[Any, ...] = (
    conv,
    conv_transpose,
    matmul,
    pool,
    scale_shift,
    integer_conv,
    integer_matmul,
    integer_elementwise,
    *SINGLE_OPS,
)

KERNELS = kernels_by_pattern(family.KERNELS for family in FAMILIES)


@register_codegen("csource", version="1.0")
class CSourceCodegen(Codegen):
    """Readable C99 for the CPU: register-tiled, vectorised, parallel, without dependencies."""

    patterns: ClassVar[dict[str, Any]] = {name: kernel.patterns[name] for name, kernel in KERNELS.items()}
    options: ClassVar[dict[str, Option]] = {
        "isa": Option(
            "native",
            "vector instructions that weights are packed and tiles are sized for",
            ("native", "avx512", "avx2", "portable"),
        ),
        "winograd": Option(
            "on",
            "3x3 convolutions with less than half of the products, their weights taking 16/9 of the memory",
            ("on", "off"),
        ),
    }
    # Measured by benchmarks/calibrate.py: two cores with AVX-512.
    peaks: ClassVar[Peaks] = Peaks(
        flops=4e11,
        bandwidth=1e11,
        link_bandwidth=float("inf"),
        call_overhead=1e-6,
        op_overhead=3e-7,
        families={
            "convolution 3x3": 3.3e11,  # those by Winograd's filtering have a cost of their own
            "convolution 1x1": 3.5e11,
            "convolution": 3.3e11,
            "depthwise": 6.5e10,
            "product": 4.3e11,
            "pooling": 5.5e9,
            "rows": 3e10,
            "elementary": 1e11,
            "arithmetic": 3e10,
            "integer convolution": 8.5e11,
            "integer depthwise": 1.1e10,
            "integer product": 7e11,
            "packed product": 1.1e12,
            "cached attention": 1.2e11,
        },
        family_overheads={
            "convolution 3x3": 8.5e-6,
            "convolution 1x1": 6e-6,
            "convolution": 8.5e-6,
            "depthwise": 1.1e-5,
            "pooling": 4e-6,
        },
    )

    def check(self, m: Match) -> Any:
        return KERNELS[m.pattern].check(m)

    def cost(self, m: Match) -> float | None:
        cost = KERNELS[m.pattern].cost
        return cost(m) if cost else None

    def emit_match(self, m: Match) -> Any:
        return KERNELS[m.pattern].emit(m)
