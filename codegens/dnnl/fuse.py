"""Let primitives apply what follows them: bias, activations, residual sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from byoc_codegens.dnnl.program import Op, PostOp, Tensor

_WITH_BIAS = frozenset({"convolution", "deconvolution", "matmul"})
_WITH_ELTWISE = frozenset({*_WITH_BIAS, "pool", "binary", "reduction", "resampling"})
_WITH_BINARY = frozenset({*_WITH_ELTWISE, "eltwise"})
_MOST_POST_OPS = 8
_MOST_DIMENSIONS = {"eltwise": 5}  # of a result that is multiplied or added to; oneDNN 3.2 gets others wrong


def fuse(ops: Sequence[Op], outputs: Sequence[Tensor]) -> tuple[Op, ...]:
    """The ops with every eltwise and binary op merged into the producer of an operand that nothing else reads."""
    uses: dict[int, int] = {}
    for tensor in (*(t for op in ops for t in op.reads()), *outputs):
        uses[id(tensor)] = uses.get(id(tensor), 0) + 1
    fused: list[Op | None] = []
    made_by: dict[int, int] = {}
    for op in ops:
        for tensor in _absorbable(op, made_by, fused):
            producer = fused[made_by[id(tensor)]] if id(tensor) in made_by else None
            merged = _merged(producer, op, tensor) if producer is not None and uses[id(tensor)] == 1 else None
            if merged is not None:
                # At the later place: what the post-op reads is computed by then.
                fused[made_by[id(tensor)]] = None
                op = merged
                break
        made_by[id(op.output)] = len(fused)
        fused.append(op)
    return tuple(op for op in fused if op is not None)


def _absorbable(op: Op, made_by: dict[int, int], fused: Sequence[Op | None]) -> list[Tensor]:
    """Operands whose producer may take the op over: products first, then the one computed last."""
    if op.kind == "eltwise":
        return [op.inputs[0]]
    if op.kind != "binary" or op.post_ops:
        return []

    def rank(tensor: Tensor) -> tuple[bool, int]:
        place = made_by.get(id(tensor), -1)
        producer = fused[place] if place >= 0 else None
        return producer is not None and producer.kind in _WITH_BIAS, place

    ordered = sorted(op.inputs[:2], key=rank, reverse=True)
    return ordered if op.algorithm in ("binary_add", "binary_mul", "binary_max", "binary_min") else [op.inputs[0]]


def _merged(producer: Op, op: Op, through: Tensor) -> Op | None:
    if len(producer.post_ops) >= _MOST_POST_OPS or through.shape != op.output.shape or through.dtype != "float32":
        return None
    if op.kind == "eltwise":
        if producer.kind not in _WITH_ELTWISE:
            return None
        post_op = PostOp("eltwise", op.algorithm, op.scalars["alpha"], op.scalars["beta"])
        return _with(producer, post_op, op)
    other = op.inputs[1] if op.inputs[0] is through else op.inputs[0]
    if other is through or producer.kind not in _WITH_BINARY:
        return None
    if _is_bias(producer, op, other):
        return replace(producer, inputs=(*producer.inputs, other), output=op.output, name=producer.name or op.name)
    if not _fits(producer, other):
        return None
    same = other.shape == op.output.shape
    summed = any(p.kind == "sum" for p in producer.post_ops)
    if op.algorithm == "binary_add" and same and other.constant is None and producer.kind in _WITH_BIAS and not summed:
        return _with(producer, PostOp("sum", alpha=1.0, input=other), op)
    return _with(producer, PostOp("binary", op.algorithm, input=other), op)


def _with(producer: Op, post_op: PostOp, op: Op) -> Op:
    return replace(producer, post_ops=(*producer.post_ops, post_op), output=op.output)


def _channel_axis(op: Op) -> int:
    return op.output.rank - 1 if op.kind == "matmul" else 1


def _is_bias(producer: Op, op: Op, other: Tensor) -> bool:
    """Whether the addend is a constant for each channel, and the producer has neither bias nor post-op yet."""
    if op.algorithm != "binary_add" or producer.kind not in _WITH_BIAS or producer.post_ops:
        return False
    return len(producer.inputs) == 2 and other.constant is not None and _is_per_channel(producer, other)


def _is_per_channel(op: Op, other: Tensor) -> bool:
    axis, rank = _channel_axis(op), op.output.rank
    shape = (1,) * (rank - other.rank) + other.shape
    return all(d == (op.output.shape[i] if i == axis else 1) for i, d in enumerate(shape))


def _fits(producer: Op, other: Tensor) -> bool:
    """Whether the producer's primitive takes such an operand, and without becoming slow."""
    if producer.output.rank > _MOST_DIMENSIONS.get(producer.kind, producer.output.rank):
        return False
    if all(d == 1 for d in other.shape) and other.rank <= producer.output.rank:
        return True
    return other.shape == producer.output.shape or (producer.output.rank > 1 and _is_per_channel(producer, other))
