"""Hand each partition to its codegen; split it, or give it back to the host, when the codegen refuses."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import tvm
from tvm import relax

from byoc.codegen import VENDOR_FAULTS, CSource, Match, PyFunc, Reject, RuntimeModule, guilty_line
from byoc.contract import check_emitted
from byoc.errors import ByocError, CheckError, CompilerError, EmitError
from byoc.graph import Graph, Value
from byoc.lower.compile_c import CCompiler
from byoc.lower.in_place import storage_of
from byoc.lower.outline import SYMBOL, outline
from byoc.lower.partition_function import PartitionFunction
from byoc.partitioner.boundary import boundary_of
from byoc.partitioner.consistency import check_consistency
from byoc.partitioner.match import find_matches
from byoc.partitioner.plan import HOST, Composite, FunctionPlan, Partition, Plan, Verdict
from byoc.partitioner.target import Target
from byoc.patterns import match_at
from byoc.relax_graph import graph_of

ON_FAIL = ("split", "host", "abort")
Emitted = CSource | RuntimeModule | PyFunc


class RefusedPartition(UserWarning):
    """A codegen refused a partition that its `check` had accepted op by op; it is split or goes to the host."""


@dataclass(frozen=True)
class Compiled:
    """What a codegen made of one partition, and the object file if it was C."""

    target: Target
    function: PartitionFunction
    emitted: Emitted
    object_file: str = ""


@dataclass
class Lowered:
    """A module whose partitions are outlined, the plan as it was carried out, and each partition's code by symbol."""

    module: tvm.IRModule
    plan: Plan
    compiled: dict[str, Compiled] = field(default_factory=dict)


def lower(
    module: tvm.IRModule,
    graphs: Mapping[str, Graph],
    plan: Plan,
    targets: Mapping[str, Target],
    compiler: CCompiler,
    *,
    on_fail: str = "split",
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Lowered:
    """Outline and emit every partition of the plan.

    When a codegen refuses a partition (by `reject` from `emit`, or because its C does not compile), `on_fail` decides:
    ``split`` tries its halves, down to single composites, which go to the host; ``host`` gives the whole partition to
    the host; ``abort`` raises.

    Raises :class:`EmitError`, :class:`CompilerError`.
    """
    done: dict[str, Compiled] = {}
    while True:
        outlined = outline(module, graphs, plan.functions)
        functions = {
            str(f.attrs[SYMBOL]): f
            for v, f in outlined.functions_items()
            if f.attrs is not None and "Codegen" in f.attrs
        }
        refused: dict[str, Reject] = {}
        wanted = [(fn, p) for fn in plan.functions for p in fn.partitions]
        for number, (function_plan, partition) in enumerate(wanted):
            progress("emit", number, len(wanted))
            if partition.symbol in done:
                continue
            target = targets[partition.target]
            outcome = _emit_one(functions[partition.symbol], function_plan, partition, target, compiler)
            if isinstance(outcome, Reject):
                if on_fail == "abort":
                    raise EmitError(
                        f'codegen "{target.name}" refused partition {partition.symbol} ({len(partition.ops)} ops)',
                        outcome.reason,
                        "compile with --on-fail split to give up as little as possible",
                    )
                warnings.warn(
                    f'codegen "{target.name}" refused partition {partition.symbol}: {outcome.reason}',
                    RefusedPartition,
                    stacklevel=2,
                )
                refused[partition.symbol] = outcome
            else:
                done[partition.symbol] = outcome
        if not refused:
            live = {p.symbol for _, p in wanted}
            return Lowered(outlined, plan, {s: c for s, c in sorted(done.items()) if s in live})
        plan = _without(plan, graphs, refused, split=on_fail == "split")


def _emit_one(
    function: Any, function_plan: FunctionPlan, partition: Partition, target: Target, compiler: CCompiler
) -> Compiled | Reject:
    view = partition_function(function, function_plan.name, partition, target)
    if isinstance(view, Reject):
        return view
    try:
        emitted = target.codegen.emit(view)
    except ByocError:
        raise
    except VENDOR_FAULTS as error:
        raise EmitError(
            f'codegen "{target.name}": emit raised {type(error).__name__}: {error}',
            f"at {guilty_line(error)}, for partition {partition.symbol} ({_first_node(view)})",
            "this is a fault of the codegen, not of the model",
        ) from error
    if isinstance(emitted, Reject):
        return emitted
    if not isinstance(emitted, (CSource, RuntimeModule, PyFunc)):
        raise EmitError(
            f'codegen "{target.name}": emit returned {type(emitted).__name__} for partition {partition.symbol}',
            "",
            "it must return CSource, RuntimeModule, PyFunc or reject(...)",
        )
    check_emitted(target.name, partition.symbol, emitted)
    if isinstance(emitted, CSource):
        try:
            return Compiled(target, view, emitted, compiler.compile(partition.symbol, emitted, target.codegen))
        except CompilerError as error:
            return Reject(f"the C compiler refuses its code: {error.why}")
    return Compiled(target, view, emitted)


def _first_node(view: PartitionFunction) -> str:
    return view.matches[0].root.node or view.matches[0].root.op


def partition_function(function: Any, entry: str, partition: Partition, target: Target) -> PartitionFunction | Reject:
    """The view of a partition that `emit` gets.  Raises :class:`CheckError` when `optimize` misbehaves."""
    try:
        optimized = target.codegen.optimize(function)
    except VENDOR_FAULTS as error:
        raise CheckError(
            f'codegen "{target.name}": optimize raised {type(error).__name__}: {error}', f"at {guilty_line(error)}"
        ) from error
    if not isinstance(optimized, relax.Function):
        raise CheckError(
            f'codegen "{target.name}": optimize returned {type(optimized).__name__} for partition {partition.symbol}',
            "it must return a Relax function with the same parameters and results",
        )
    graph = graph_of(partition.symbol, optimized)
    if optimized is function or (len(graph.nodes) == len(partition.ops) and optimized.same_as(function)):
        matches = _matches_of_plan(graph, partition, target)
    else:
        anew = _matches_anew(graph, target)
        if isinstance(anew, Reject):
            return anew
        matches = anew
    shape_args: tuple[str, ...] = ()
    if optimized.params and str(optimized.params[-1].name) == "shape_args":
        shape_args = tuple(str(d.name) for d in optimized.params[-1].ty.values)
    constants = {id(v): v for m in matches for v in m.inputs if v.is_constant}
    inputs = tuple(p for p in graph.params if p.dtype != "shape")
    updated = _updated(graph, inputs)
    if isinstance(updated, Reject):
        return updated
    in_place = {result for result, _ in updated}
    return PartitionFunction(
        symbol=partition.symbol,
        entry=entry,
        matches=tuple(matches),
        inputs=inputs,
        shape_args=shape_args,
        outputs=tuple(v for k, v in enumerate(graph.returned) if k not in in_place),
        constants=tuple(constants.values()),
        options=target.options,
        function=optimized,
        updated=updated,
    )


def _updated(graph: Graph, inputs: tuple[Value, ...]) -> tuple[tuple[int, int], ...] | Reject:
    """(result, input) for each result of the function that is an input updated in place."""
    place = {id(v): k for k, v in enumerate(inputs)}
    pairs = []
    for k, value in enumerate(graph.returned):
        storage = storage_of(value)
        if storage is value:
            continue
        if id(storage) not in place:
            return Reject(
                f"{value.op} updates a tensor that is made in the same partition and read outside", value.name
            )
        pairs.append((k, place[id(storage)]))
    return tuple(pairs)


def _matches_of_plan(graph: Graph, partition: Partition, target: Target) -> list[Match]:
    """The plan's composites in the outlined function, whose k-th op is the partition's k-th."""
    local = {op: graph.nodes[k] for k, op in enumerate(partition.ops)}
    matches = []
    for composite in sorted(partition.composites, key=lambda c: c.root):
        nodes = tuple(local[i] for i in composite.ops)
        found = match_at(target.patterns[composite.pattern], local[composite.root])
        if found is None or [n.index for n in found[1]] != [n.index for n in nodes]:
            raise EmitError(f'pattern "{composite.pattern}" no longer matches in partition {partition.symbol}')
        matches.append(Match(composite.pattern, nodes, found[0], target.options))
    return matches


def _matches_anew(graph: Graph, target: Target) -> list[Match] | Reject:
    chosen = find_matches(graph, target).select(lambda _: True)
    covered = {i for c in chosen for i in c.ops}
    missing = [n for n in graph.nodes if n.index not in covered]
    if missing:
        return Reject(f"after optimize, no pattern takes {missing[0].op} ({missing[0].node})")
    return [c.match for c in sorted(chosen, key=lambda c: c.root)]


def _without(plan: Plan, graphs: Mapping[str, Graph], refused: Mapping[str, Reject], *, split: bool) -> Plan:
    """The plan with the refused partitions halved, or given to the host."""
    functions = tuple(_replan(f, graphs[f.name], refused, plan.settings.nominal_dim, split) for f in plan.functions)
    changed = replace(plan, functions=functions)
    check_consistency(changed)
    return changed


def _replan(
    function: FunctionPlan, graph: Graph, refused: Mapping[str, Reject], nominal: int, split: bool
) -> FunctionPlan:
    kept: list[Partition] = []
    to_host: dict[int, Verdict] = {}
    for partition in function.partitions:
        reject = refused.get(partition.symbol)
        if reject is None:
            kept.append(partition)
        elif split and len(partition.composites) > 1:
            kept += _halves(partition, graph, nominal)
        else:
            reason = f"emit refused its partition {partition.symbol}: {reject.reason}"
            for i in partition.ops:
                to_host[i] = Verdict(partition.target, False, "compile", reason, at=reject.at)
    partitions = tuple(replace(p, index=i) for i, p in enumerate(kept))
    partition_of = {i: p.index for p in partitions for i in p.ops}
    ops = tuple(
        replace(
            op,
            owner=HOST if op.index in to_host else op.owner,
            partition=partition_of.get(op.index, -1),
            verdicts=tuple(
                to_host[op.index] if op.index in to_host and v.target == to_host[op.index].target else v
                for v in op.verdicts
            ),
        )
        for op in function.ops
    )
    return replace(function, ops=ops, partitions=partitions)


def _halves(partition: Partition, graph: Graph, nominal: int) -> list[Partition]:
    """The first and the second half of a partition's composites in topological order; both are convex."""
    ordered = sorted(partition.composites, key=lambda c: c.root)
    middle = len(ordered) // 2
    halves = []
    for suffix, composites in (("a", ordered[:middle]), ("b", ordered[middle:])):
        ops = tuple(sorted(i for c in composites for i in c.ops))
        halves.append(_partition(partition, suffix, tuple(composites), ops, graph, nominal))
    return halves


def _partition(
    parent: Partition, suffix: str, composites: tuple[Composite, ...], ops: tuple[int, ...], graph: Graph, nominal: int
) -> Partition:
    boundary = boundary_of(graph, ops, nominal)
    return Partition(
        0, parent.target, f"{parent.symbol}{suffix}", ops, composites, boundary.bytes_in, boundary.bytes_out
    )
