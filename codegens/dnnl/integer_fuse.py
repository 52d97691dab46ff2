"""Let integer products add a residual themselves, with the roundings of the separate ops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from byoc_codegens.dnnl.integer import LIMITS
from byoc_codegens.dnnl.program import Op, PostOp, Tensor

_PRODUCTS = frozenset({"convolution", "matmul"})


def fuse_sums(ops: Sequence[Op], outputs: Sequence[Tensor]) -> tuple[Op, ...]:
    """The ops with every sum of integers merged into the product that is computed last and that nothing else reads."""
    uses = Counter(id(t) for t in (*(t for op in ops for t in op.reads()), *outputs))
    fused: list[Op | None] = []
    made_by: dict[int, int] = {}
    for op in ops:
        if op.kind == "binary" and op.output.dtype in LIMITS:
            places = {i: made_by.get(id(t), -1) for i, t in enumerate(op.inputs)}
            taken = [
                i for i, place in places.items()
                if uses[id(op.inputs[i])] == 1 and _factor(op, i) <= 1.0 and _takes_sum(fused, place)
            ]  # fmt: skip
            if taken:
                which = max(taken, key=lambda i: places[i])
                producer = fused[places[which]]
                assert producer is not None
                fused[places[which]] = None
                op = _merged(producer, op, which)
        made_by[id(op.output)] = len(fused)
        fused.append(op)
    return tuple(op for op in fused if op is not None)


def _factor(op: Op, which: int) -> float:
    """What a sum multiplies its operand with.  A product may be a step off; more than 1 would make that two."""
    return op.scales[("source", "other")[which]].scalar


def _takes_sum(fused: Sequence[Op | None], place: int) -> bool:
    producer = fused[place] if place >= 0 else None
    if producer is None or producer.kind not in _PRODUCTS or producer.output.dtype not in LIMITS:
        return False
    return not any(p.kind == "sum" for p in producer.post_ops)


def _merged(producer: Op, op: Op, which: int) -> Op:
    """`op` adds to its operand `which` what the product gives, rounded and limited as its own type does it."""
    names = ("source", "other") if which == 0 else ("other", "source")
    zeros = [op.scalars["a_zero"], op.scalars["b_zero"]]
    mine, theirs = (op.scales[name].scalar for name in names)
    own = [p for p in producer.post_ops if p.algorithm == "clip"]
    low, high = (own[-1].alpha, own[-1].beta) if own else map(float, LIMITS[producer.output.dtype])
    offset = next((p.beta for p in producer.post_ops if p.algorithm == "linear"), 0.0) - zeros[which]
    post_ops = [PostOp("eltwise", "round")]
    if offset:
        post_ops.append(PostOp("eltwise", "linear", 1.0, offset))
    post_ops.append(PostOp("eltwise", "clip", low - zeros[which], high - zeros[which]))
    if mine != 1.0:
        post_ops.append(PostOp("eltwise", "linear", mine))
    post_ops.append(PostOp("sum", alpha=theirs, beta=zeros[1 - which], input=op.inputs[1 - which]))
    shifted = bool(zeros[0] or zeros[1])  # its own first post-op, which the terms above hold already
    return replace(producer, post_ops=(*post_ops, *op.post_ops[shifted:]), output=op.output)
