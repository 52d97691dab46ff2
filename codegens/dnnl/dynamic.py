"""Products whose data is quantised at run time: its range, the integers, the totals and their scales."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from byoc_codegens.dnnl.family import BYTES, FLOATS, Kernel, Translation
from byoc_codegens.dnnl.processor import check_weights
from byoc_codegens.dnnl.program import Op, Tensor

from byoc import Match, reject


def _quantize(m: Match, to: Translation) -> tuple[Tensor, ...]:
    x = to.tensor(m.root.inputs[0])
    extremes = to.add("range", [x], (2,))
    scale = to.add("range_scale", [extremes], ())
    zero = to.add("range_zero", [extremes, scale], (), dtype="uint8")
    return to.add("quantize", [x, scale, zero], x.shape, dtype="uint8"), scale, zero


def _check_totals(m: Match) -> Any:
    x, _, w = m.root.inputs
    if w.dtype != "int8" or not w.is_constant:
        return reject("its weights must be int8 and constant", at=w)
    if x.rank < 2:
        return reject("takes matrices", at=x)
    return check_weights(w)


def _totals(m: Match, to: Translation) -> Tensor:
    x, zero, w = (to.tensor(v) for v in m.root.inputs)
    scales = {"zero": to.add("convert", [zero], (1,), dtype="int32")}
    return to.add("matmul", [x, w], m.out.shape, dtype="int32", scales=scales)


def fuse_scales(ops: Sequence[Op], outputs: Sequence[Tensor]) -> tuple[Op, ...]:
    """The ops with totals that only become floats times a factor for each column given those factors as scales."""
    uses = Counter(id(t) for t in (*(t for op in ops for t in op.reads()), *outputs))
    makers = {id(op.output): op for op in ops}
    fused: list[Op] = []
    for op in ops:
        product, factors = _scaled_totals(op, makers, uses)
        if product is not None and factors is not None:
            scales = {**product.scales, **_as_scales(factors, makers)}
            op = replace(product, output=op.output, scales=scales, name=product.name)
        fused.append(op)
    return tuple(fused)


def _scaled_totals(op: Op, makers: dict[int, Op], uses: Counter[int]) -> tuple[Op | None, Tensor | None]:
    """(the product, the factors) where `op` multiplies totals, as floats, by one factor for each column."""
    if op.algorithm != "binary_mul" or op.post_ops:
        return None, None
    for x, factors in (op.inputs, op.inputs[::-1]):
        floats = makers.get(id(x))
        if floats is None or floats.kind != "to_floats" or uses[id(x)] != 1:
            continue
        product = makers.get(id(floats.inputs[0]))
        if product is None or product.kind != "matmul" or product.output.dtype != "int32":
            continue
        if uses[id(product.output)] == 1 and x.shape == op.output.shape and factors.shape == x.shape[-1:]:
            return product, factors
    return None, None


def _as_scales(factors: Tensor, makers: dict[int, Op]) -> dict[str, Tensor]:
    """Factors as scales: those of the data and of the weights, where they are a product of the two."""
    maker = makers.get(id(factors))
    if maker is not None and maker.algorithm == "binary_mul" and not maker.post_ops:
        weights, source = sorted(maker.inputs, key=lambda t: t.rank, reverse=True)
        if weights.constant is not None and weights.shape == factors.shape and source.rank == 0:
            return {"source": source, "weights": weights}
    return {"weights": factors}


KERNELS = (
    Kernel("byoc.dynamic_quantize", _quantize, dtypes=FLOATS | BYTES),
    Kernel("byoc.matmul_integer", _totals, _check_totals, BYTES | {"int32"}),
)
