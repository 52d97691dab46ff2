"""Recognise what models spell out: local response normalisation, SiLU, channel shuffles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from byoc_codegens.dnnl.program import Op, Tensor


def lift(ops: Sequence[Op], outputs: Sequence[Tensor]) -> tuple[Op, ...]:
    """The ops with spelled-out forms replaced by one op each; what nothing reads any more is dropped."""
    makers = {id(op.output): op for op in ops}
    lifted = [_lifted(op, makers) for op in ops]
    return without_dead(lifted, outputs)


def without_dead(ops: Sequence[Op], outputs: Sequence[Tensor]) -> tuple[Op, ...]:
    """Only the ops that `outputs` depend on."""
    wanted = {id(t) for t in outputs}
    kept: list[Op] = []
    for op in reversed(ops):
        if id(op.output) in wanted:
            wanted |= {id(t) for t in op.reads()}
            kept.append(op)
    return tuple(kept[::-1])


def _lifted(op: Op, makers: dict[int, Op]) -> Op:
    if op.kind == "binary" and op.algorithm == "binary_mul":
        return _swish(op, makers)
    if op.kind == "binary" and op.algorithm == "binary_div":
        return _local_response(op, makers)
    if op.kind == "reshape":
        return _shuffle(op, makers)
    return op


def _is(op: Op | None, algorithm: str) -> bool:
    return op is not None and op.algorithm == algorithm


def _swish(op: Op, makers: dict[int, Op]) -> Op:
    """x * sigmoid(x)."""
    for x, gate in (op.inputs, op.inputs[::-1]):
        maker = makers.get(id(gate))
        if maker is not None and _is(maker, "logistic") and maker.inputs[0] is x:
            return Op("eltwise", (x,), op.output, "swish", scalars={"alpha": 1.0, "beta": 0.0}, name=op.name)
    return op


def _shuffle(op: Op, makers: dict[int, Op]) -> Op:
    """Channels in groups, transposed: every group gives one channel in turn (Zhang et al. 2017, "ShuffleNet", 3.1)."""
    turn = makers.get(id(op.inputs[0]))
    parted = makers.get(id(turn.inputs[0])) if turn is not None and turn.kind == "transpose" else None
    if turn is None or parted is None or parted.kind != "reshape":
        return op
    x, grouped = parted.inputs[0], parted.output
    order = list(range(grouped.rank))
    if x.rank < 3 or x.shape != op.output.shape or grouped.shape != (x.shape[0], *grouped.shape[1:3], *x.shape[2:]):
        return op
    order[1:3] = 2, 1
    groups = grouped.shape[1]
    if list(turn.numbers["axes"]) != order or not isinstance(groups, int):
        return op
    return Op("shuffle", (x,), op.output, numbers={"groups": [groups]}, name=op.name)


def _local_response(op: Op, makers: dict[int, Op]) -> Op:
    """x / (bias + alpha/size * sum of the squares of `size` neighbouring channels)^beta."""
    x, scale = op.inputs
    power = makers.get(id(scale))
    shifted = makers.get(id(power.inputs[0])) if power is not None and _is(power, "pow") else None
    if power is None or shifted is None or x.rank != 4 or not _is(shifted, "linear") or power.scalars["alpha"] != 1:
        return op
    bias, scaled = shifted.scalars["beta"], makers.get(id(shifted.inputs[0]))
    if shifted.scalars["alpha"] != 1 or scaled is None or not _is(scaled, "linear") or scaled.scalars["beta"] != 0:
        return op
    slices = _summands(scaled.inputs[0], makers)
    if slices is None or len(slices) % 2 == 0:
        return op
    padded = makers.get(id(slices[0].inputs[0]))
    size = len(slices)
    begins = sorted(int(np.asarray(s.numbers["begin"])[1]) for s in slices)
    square = makers.get(id(padded.inputs[0])) if padded is not None and padded.kind == "pad" else None
    whole = (0, (size - 1) // 2, 0, 0)
    if (
        padded is None
        or square is None
        or begins != list(range(size))
        or any(s.inputs[0] is not slices[0].inputs[0] or s.output.shape != x.shape for s in slices)
        or tuple(padded.numbers["before"]) != whole
        or tuple(padded.numbers["after"]) != whole
        or not _is_square_of(square, x)
    ):
        return op
    scalars = {"alpha": scaled.scalars["alpha"] * size, "beta": power.scalars["beta"], "bias": bias}
    return Op("lrn", (x,), op.output, numbers={"size": [size]}, scalars=scalars, name=op.name)


def _is_square_of(op: Op, x: Tensor) -> bool:
    squared = op.algorithm == "square" or (op.algorithm == "binary_mul" and op.inputs[0] is op.inputs[1])
    return squared and op.inputs[0] is x


def _summands(tensor: Tensor, makers: dict[int, Op]) -> list[Op] | None:
    """The slices of which a tensor is the sum, or None where it is anything else."""
    op = makers.get(id(tensor))
    if op is not None and op.kind == "slice":
        return [op]
    if op is None or op.algorithm != "binary_add":
        return None
    parts = [_summands(t, makers) for t in op.inputs]
    return None if any(p is None for p in parts) else [s for p in parts if p for s in p]
