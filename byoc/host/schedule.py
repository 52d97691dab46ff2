"""Loops of the functions that TVM's operators give: fused, in parallel, and in an order that vectorises.

LLVM vectorises an innermost loop over neighbouring elements by itself, its tail and symbolic extents included.  So a
schedule only has to bring such a loop innermost: the last axis of the result, with reductions outside of it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, tirx

# Elements below which starting threads costs more than it brings.
_SERIAL_ELEMENTS = 8192
_SPATIAL, _REDUCTION = 0, 2


@tvm.transform.module_pass(opt_level=0, name="ScheduleHostFunctions")
def schedule_functions(module: tvm.IRModule, _: Any) -> tvm.IRModule:
    """Schedule every TIR function of the module that is not a kernel already."""
    functions = {}
    for variable, function in module.functions_items():
        if isinstance(function, tirx.PrimFunc) and _is_plain(function):
            # What a primitive refuses (a reduction with two results, say) stays in TVM's order.
            with suppress(s_tir.ScheduleError):
                function = _scheduled(function)
        functions[variable] = function
    return tvm.IRModule(functions, attrs=module.attrs, global_infos=module.global_infos)


def _is_plain(function: Any) -> bool:
    attrs = function.attrs or {}
    if "byoc.kernel" in attrs or "tirx.is_scheduled" in attrs:
        return False
    return isinstance(function.body, s_tir.SBlockRealize) and str(function.body.block.name_hint) == "root"


def _scheduled(function: Any) -> Any:
    schedule = s_tir.Schedule(function)
    root = schedule.get_sblock("root")
    blocks = schedule.get_child_blocks(root)
    if not blocks or not all(_is_simple(schedule, b) for b in blocks):
        return function
    for block in _inline(schedule, blocks):
        kinds = _kinds(schedule, block)
        if _REDUCTION in kinds:
            _order_reduction(schedule, block, kinds)
        else:
            _parallel(schedule, schedule.get_loops(block)[:-1], schedule.get_loops(block))
    return schedule.mod["main"].with_attrs(dict(function.attrs.items()))


def _is_simple(schedule: Any, block: Any) -> bool:
    """Whether a block is an assignment in a nest of one loop for each of its axes."""
    node = schedule.get(block)
    kinds = _kinds(schedule, block)
    return (
        isinstance(node.body, tirx.BufferStore)
        and len(schedule.get_loops(block)) == len(kinds)
        and set(kinds) <= {_SPATIAL, _REDUCTION}
        and len(node.writes) == 1
    )


def _kinds(schedule: Any, block: Any) -> list[int]:
    return [int(v.iter_type) for v in schedule.get(block).iter_vars]


def _inline(schedule: Any, blocks: list[Any]) -> list[Any]:
    """Put element-wise blocks into their only reader; those left."""
    left = []
    for block in blocks:
        readers = schedule.get_consumers(block)
        if _REDUCTION in _kinds(schedule, block) or len(readers) != 1:
            left.append(block)
            continue
        if _REDUCTION in _kinds(schedule, readers[0]) and _branches(schedule.get(block).body):
            # Padding that is computed once costs less than its condition inside every window.
            left.append(block)
            continue
        try:
            schedule.compute_inline(block)
        except s_tir.ScheduleError:
            left.append(block)
    return left


def _branches(statement: Any) -> bool:
    found = False

    def visit(node: Any) -> None:
        nonlocal found
        found |= isinstance(node, tvm.ir.Call) and str(getattr(node.op, "name", "")) == "tirx.if_then_else"

    tvm_ffi.structural.structural_walk(statement, visit)
    return found


def _order_reduction(schedule: Any, block: Any, kinds: list[int]) -> None:
    """Reductions outside of the innermost axis of the result where that makes loads neighbours, else inside."""
    loops = schedule.get_loops(block)
    spatial = [x for x, kind in zip(loops, kinds, strict=True) if kind == _SPATIAL]
    reduced = [x for x, kind in zip(loops, kinds, strict=True) if kind == _REDUCTION]
    if not spatial:
        return
    if _reads_along_result(schedule, block):
        schedule.reorder(*spatial[:-1], *reduced, spatial[-1])
        if len(spatial) > 1:
            _parallel(schedule, spatial[:-1], loops)
        schedule.decompose_reduction(block, reduced[0])
        return
    schedule.reorder(*spatial, *reduced)
    _parallel(schedule, spatial, loops)


def _reads_along_result(schedule: Any, block: Any) -> bool:
    """Whether the last axis of the result is the last axis of what is read, and of no other place."""
    node = schedule.get(block)
    spatial = [v.var for v in node.iter_vars if int(v.iter_type) == _SPATIAL]
    if not spatial:
        return False
    last = node.writes[0].region[-1].min
    if not (isinstance(last, tirx.Var) and last.same_as(spatial[-1])):
        return False
    reads = [r.region for r in node.reads if len(r.region)]
    return any(isinstance(r[-1].min, tirx.Var) and r[-1].min.same_as(last) for r in reads)


def _parallel(schedule: Any, outer: list[Any], loops: list[Any]) -> None:
    """Run the outer loops in parallel where the work of all loops is worth it."""
    work: int | None = 1
    for loop in loops:
        extent = schedule.get(loop).extent
        work = work * int(extent) if work is not None and isinstance(extent, tirx.IntImm) else None
    if work is not None and work < _SERIAL_ELEMENTS:
        return
    if outer:
        schedule.parallel(schedule.fuse(*outer) if len(outer) > 1 else outer[0])
    elif loops:
        # A vector: pieces long enough to vectorise.
        piece, _ = schedule.split(loops[0], [None, 1024])
        schedule.parallel(piece)
