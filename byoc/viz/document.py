"""The data of a page: the plan, where its boxes are, and what was measured, as compact JSON values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from byoc.explain.rows import node_label
from byoc.partitioner.plan import HOST
from byoc.viz import palette
from byoc.viz.scene import HEADER, OP_SIZE, PADDING, PARTITION_SIZE, FunctionScene, expanded_size, scene

if TYPE_CHECKING:
    from byoc.partitioner.plan import Plan, PlannedOp, Verdict
    from byoc.viz.layered import Drawing
    from byoc.viz.overlay import Overlay


def document(plan: Plan, overlays: Sequence[Overlay] = ()) -> dict[str, Any]:
    """Everything that the page's script reads."""
    numbers: dict[Verdict, int] = {}
    functions = [_function(plan, f, numbers) for f in scene(plan)]
    return {
        "targets": [
            {"name": t.name, "version": t.version, **asdict(palette.mark(k))} for k, t in enumerate(plan.targets)
        ],
        "host": asdict(palette.HOST_MARK),
        "scale": palette.SCALE,
        "sizes": {"op": OP_SIZE, "partition": PARTITION_SIZE, "header": HEADER, "padding": PADDING},
        "verdicts": [asdict(v) for v in numbers],
        "functions": functions,
        "overlays": {o.quantity: _overlay(plan, o) for o in overlays},
    }


def _overlay(plan: Plan, overlay: Overlay) -> dict[str, Any]:
    """Numbers of the partitions by symbol, and of the ops of each function by index."""
    ops = {
        function.name: _finite(
            (str(op.index), number)
            for op in function.ops
            if (number := overlay.indices.get((function.name, op.index), overlay.ops.get(node_label(op)))) is not None
        )
        for function in plan.functions
    }
    return {"partitions": _finite(overlay.partitions.items()), "ops": ops}


def _finite(numbers: Iterable[tuple[str, float]]) -> dict[str, float | str]:
    return {name: value if math.isfinite(value) else "inf" for name, value in numbers}


def _function(plan: Plan, drawn: FunctionScene, numbers: dict[Verdict, int]) -> dict[str, Any]:
    owners = {t.name: k for k, t in enumerate(plan.targets)} | {HOST: -1}
    function = drawn.function
    return {
        "name": function.name,
        "ops": [_op(op, owners[op.owner], numbers) for op in function.ops],
        "partitions": [
            {
                "target": owners[p.target],
                "symbol": p.symbol,
                "ops": p.ops,
                "composites": [(c.pattern, c.ops) for c in p.composites],
                "bytes_in": p.bytes_in,
                "bytes_out": p.bytes_out,
                "size": expanded_size(inner),
                "inner": _inner(inner),
            }
            for p, inner in zip(function.partitions, drawn.inner, strict=True)
        ],
        "items": [(item.partition, item.op) for item in drawn.items],
        "layouts": {"collapsed": _drawing(drawn.collapsed), "expanded": _drawing(drawn.expanded)},
    }


def _op(op: PlannedOp, owner: int, numbers: dict[Verdict, int]) -> tuple[Any, ...]:
    verdicts = [numbers.setdefault(v, len(numbers)) for v in op.verdicts]
    shape = "?" if op.shape is None else ", ".join(map(str, op.shape))
    return (
        op.op,
        op.node,
        op.op_type,
        owner,
        op.partition,
        op.flops,
        op.bytes,
        shape,
        op.dtype,
        op.producers,
        verdicts,
    )


def _drawing(drawing: Drawing) -> dict[str, Any]:
    return {
        "at": [round(v, 1) for p in drawing.places for v in (p.x, p.y, p.column)],
        "routes": [
            (r.source, r.target, int(r.side), [round(v, 1) for point in r.points for v in point])
            for r in drawing.routes
        ],
    }


def _inner(drawing: Drawing) -> dict[str, Any]:
    return {"width": round(drawing.width, 1), **_drawing(drawing)}
