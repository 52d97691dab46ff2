"""The invariants of a plan hold on random graphs with random targets, pins and policies."""

from __future__ import annotations

import graphlib

from hypothesis import given, settings
from hypothesis import strategies as st

from byoc.errors import PinError
from byoc.graph import Graph
from byoc.partitioner.consistency import check_consistency
from byoc.partitioner.plan import STAGES, FunctionPlan, Plan, Settings, TargetUse
from byoc.partitioner.planner import fingerprint, plan_functions
from byoc.partitioner.target import Target
from byoc.patterns import op, optional
from tests.unit.dags import graph_from, target

OPS = ("add", "relu", "exp", "matmul", "softmax")
CHAINS = {
    "matmul_relu": op("relu")(op("matmul")("x", "w")),
    "add_exp": op("exp")(op("add")("x", "y")),
    "relu_or_not_matmul": optional("relu", op("matmul")("x", "w")),
    "exp_add_exp": op("add")(op("exp")("x"), op("exp")("y")),
}


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    ops = []
    for index in range(draw(st.integers(1, 24))):
        name = draw(st.sampled_from(OPS))
        count = 2 if name in ("add", "matmul") else 1
        producers = [draw(st.integers(max(-1, index - 6), index - 1)) for _ in range(count)]
        ops.append((name, producers))
    read = {p for _, producers in ops for p in producers}
    unread = [i for i in range(len(ops)) if i not in read]
    return graph_from(ops, {*unread, *draw(st.sets(st.integers(0, len(ops) - 1), max_size=3))})


@st.composite
def target_lists(draw: st.DrawFn) -> list[Target]:
    targets = []
    for name in ("a", "b", "c")[: draw(st.integers(1, 3))]:
        patterns = {k: CHAINS[k] for k in draw(st.lists(st.sampled_from(sorted(CHAINS)), unique=True, max_size=3))}
        patterns |= {o: op(o)(...) for o in draw(st.sets(st.sampled_from(OPS), max_size=4))}
        seconds = draw(st.sampled_from([None, 0.0, 1e-6, 1e-3]))
        targets.append(target(name, patterns, cost=lambda m, s=seconds: s))
    return targets


@st.composite
def settings_for(draw: st.DrawFn, graph: Graph, targets: list[Target]) -> Settings:
    owners = [t.name for t in targets] + ["host"]
    nodes = draw(st.lists(st.sampled_from([n.node for n in graph.nodes]), unique=True, max_size=3))
    pins = tuple(f"{node}={draw(st.sampled_from(owners))}" for node in nodes)
    return Settings(
        policy=draw(st.sampled_from(["priority", "cost"])),
        min_ops=draw(st.integers(1, 4)),
        max_partitions=draw(st.sampled_from([None, 0, 1, 3])),
        min_saving=draw(st.sampled_from([0.0, 1e-9, 1e-4])),
        pins=pins,
    )


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_every_plan_is_sound(data: st.DataObject) -> None:
    graph = data.draw(graphs())
    targets = data.draw(target_lists())
    wanted = data.draw(settings_for(graph, targets))
    try:
        (function,) = plan_functions([graph], targets, wanted)
    except PinError:
        return
    plan = Plan("m", "d", fingerprint([graph]), tuple(TargetUse(t.name, "1") for t in targets), wanted, (function,))
    check_consistency(plan)
    check_no_op_is_lost_or_doubled(graph, function)
    check_condensed_graph_is_acyclic(graph, function)
    check_every_op_has_its_verdicts(function, targets)
    check_pins_are_kept(function, wanted)
    if wanted.max_partitions is not None:
        pinned = {i for i, o in enumerate(function.ops) if f"{o.node}={o.owner}" in wanted.pins}
        free = [p for p in function.partitions if not pinned & set(p.ops)]
        assert len(free) <= wanted.max_partitions
    assert all(len(p.ops) >= wanted.min_ops or wanted.pins for p in function.partitions)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_planning_twice_gives_the_same_bytes_and_json_round_trips(data: st.DataObject) -> None:
    graph = data.draw(graphs())
    targets = data.draw(target_lists())
    wanted = Settings(policy=data.draw(st.sampled_from(["priority", "cost"])))
    uses = tuple(TargetUse(t.name, "1") for t in targets)
    plans = [
        Plan("m", "d", fingerprint([graph]), uses, wanted, plan_functions([graph], targets, wanted)) for _ in range(2)
    ]
    assert plans[0].to_json() == plans[1].to_json()
    assert Plan.from_json(plans[0].to_json()) == plans[0]


def check_no_op_is_lost_or_doubled(graph: Graph, function: FunctionPlan) -> None:
    assert [o.index for o in function.ops] == [n.index for n in graph.nodes]
    in_partitions = [i for p in function.partitions for i in p.ops]
    assert len(in_partitions) == len(set(in_partitions))
    on_host = [o.index for o in function.ops if o.owner == "host"]
    assert sorted(in_partitions + on_host) == list(range(len(graph.nodes)))


def check_condensed_graph_is_acyclic(graph: Graph, function: FunctionPlan) -> None:
    """With partitions and composites contracted, a topological order exists; this makes each of them convex."""
    for level in ("partition", "composite"):
        group: dict[int, object] = {n.index: n.index for n in graph.nodes}
        for part in function.partitions:
            for number, composite in enumerate(part.composites):
                for i in composite.ops:
                    group[i] = ("p", part.index) if level == "partition" else ("c", part.index, number)
        order: dict[object, set[object]] = {}
        for node in graph.nodes:
            needs = order.setdefault(group[node.index], set())
            needs.update(group[p] for p in graph.producers(node.index) if group[p] != group[node.index])
        graphlib.TopologicalSorter(order).prepare()


def check_every_op_has_its_verdicts(function: FunctionPlan, targets: list[Target]) -> None:
    for planned in function.ops:
        assert [v.target for v in planned.verdicts] == [t.name for t in targets]
        for verdict in planned.verdicts:
            assert verdict.accepted == (verdict.target == planned.owner)
            if not verdict.accepted:
                assert verdict.stage in STAGES
                assert verdict.reason


def check_pins_are_kept(function: FunctionPlan, wanted: Settings) -> None:
    for pin in wanted.pins:
        node, _, owner = pin.rpartition("=")
        assert [o.owner for o in function.ops if o.node == node] == [owner]
