"""The cost model: families of ops, and the roofline of a target that has a rate for each."""

from __future__ import annotations

import pytest

from byoc.codegen import Match, Peaks
from byoc.graph import Node, Value
from byoc.partitioner.cost import CostModel
from byoc.partitioner.work import FAMILIES, family_of
from tests.unit.dags import target


def node(op: str, shapes: list[tuple[int, ...]], out: tuple[int, ...], **attrs: object) -> Node:
    made = Node(0, op, tuple(Value(f"v{i}", "float32", s) for i, s in enumerate(shapes)), read_attrs=lambda: attrs)
    made.outputs = (Value("y", "float32", out, producer=made),)
    return made


def convolution(weight: tuple[int, ...], groups: int = 1, stride: int = 1, op: str = "nn.conv2d") -> Node:
    attrs = {"groups": groups, "strides": (stride, stride), "dilation": (1, 1), "kernel_layout": "OIHW"}
    return node(op, [(1, weight[1] * groups, 8, 8), weight], (1, weight[0], 8, 8), **attrs)


@pytest.mark.parametrize(
    ("made", "family"),
    [
        (convolution((4, 4, 3, 3)), "convolution 3x3"),
        (convolution((4, 4, 3, 3), stride=2), "convolution"),
        (convolution((4, 2, 3, 3), groups=2), "convolution"),
        (convolution((4, 4, 1, 1), stride=2), "convolution 1x1"),
        (convolution((4, 1, 3, 3), groups=4), "depthwise"),
        (node("matmul", [(2, 3), (3, 4)], (2, 4)), "product"),
        (node("nn.max_pool2d", [(1, 2, 4, 4)], (1, 2, 2, 2)), "pooling"),
        (node("nn.layer_norm", [(2, 3), (3,), (3,)], (2, 3)), "rows"),
        (node("erf", [(2, 3)], (2, 3)), "elementary"),
        (node("add", [(2, 3), (2, 3)], (2, 3)), "arithmetic"),
        (node("concat", [(2, 3), (2, 3)], (4, 3)), "movement"),
        (convolution((4, 4, 3, 3), op="byoc.qlinear_conv"), "integer convolution"),
        (convolution((4, 1, 3, 3), groups=4, op="byoc.qlinear_conv"), "integer depthwise"),
        (node("byoc.qlinear_matmul", [(2, 3), (3, 4), (4,)], (2, 4)), "integer product"),
        (node("byoc.matmul_integer", [(2, 3), (), (3, 4)], (2, 4)), "integer product"),
        (node("byoc.linear_w4", [(2, 64), (3, 32), (3, 2), (3, 2)], (2, 3)), "packed product"),
        (
            node("byoc.kv_attention", [(1, 1, 4, 8), (1, 2, 512), (1, 2, 512), (1,), (1,)], (1, 1, 4, 8)),
            "cached attention",
        ),
        (node("byoc.swiglu", [(2, 3), (2, 3)], (2, 3)), "elementary"),
    ],
)
def test_every_op_has_a_family(made: Node, family: str) -> None:
    assert family_of(made) == family
    assert family in FAMILIES


def seconds(made: Node, peaks: Peaks) -> float:
    return CostModel(1).on_target(target("acc", [made.op], peaks=peaks), Match("p", (made,), {}, {}))


def test_a_family_has_its_own_rate_and_others_the_general_one() -> None:
    peaks = Peaks(flops=1e3, bandwidth=1e12, families={"product": 1e6})
    assert seconds(node("matmul", [(10, 5), (5, 10)], (10, 10)), peaks) == pytest.approx(1000 / 1e6)
    assert seconds(node("add", [(10,), (10,)], (10,)), peaks) == pytest.approx(10 / 1e3)


def test_memory_bounds_what_has_little_to_compute_and_every_composite_has_its_overhead() -> None:
    peaks = Peaks(flops=1e12, bandwidth=120.0, op_overhead=3.0)
    assert seconds(node("add", [(10,), (10,)], (10,)), peaks) == pytest.approx(3.0 + 3 * 40 / 120)


def test_a_family_has_an_overhead_of_its_own_and_others_the_general_one() -> None:
    peaks = Peaks(flops=1e12, bandwidth=1e12, op_overhead=1.0, family_overheads={"product": 5.0})
    assert seconds(node("matmul", [(10, 5), (5, 10)], (10, 10)), peaks) == pytest.approx(5.0)
    assert seconds(node("add", [(10,), (10,)], (10,)), peaks) == pytest.approx(1.0)


def test_what_moves_nothing_costs_nothing() -> None:
    assert seconds(node("reshape", [(2, 3)], (6,)), Peaks(op_overhead=1.0)) == 0.0


def test_looking_up_rows_reads_those_rows_only() -> None:
    peaks = Peaks(bandwidth=1.0)
    assert seconds(node("take", [(1000, 8), (2,)], (2, 8)), peaks) == pytest.approx(2 * 4 + 2 * 64)


def test_the_host_turns_packed_weights_into_floats_at_every_call() -> None:
    peaks = Peaks(flops=1e12, bandwidth=1e12, call_overhead=0.0)
    made = node("byoc.linear_w4", [(1, 1000), (500, 500), (500, 1), (500, 1)], (1, 500))
    assert CostModel(1, peaks).on_host(made) == pytest.approx(1000 * 500 / 5e8, rel=0.01)


def test_the_host_fuses_element_wise_ops_with_what_they_read() -> None:
    first = node("nn.relu", [(100,)], (100,))
    second = Node(1, "add", (first.outputs[0], Value("b", "float32", (1,))), read_attrs=dict)
    second.outputs = (Value("z", "float32", (100,), producer=second),)
    peaks = Peaks(flops=1e3, bandwidth=80.0, link_bandwidth=1.0, call_overhead=2.0)
    model = CostModel(1, peaks)
    assert model.on_host(first) == pytest.approx(2.0 + 2 * 400 / 80)
    assert model.on_host(second) == pytest.approx(100 / 1e3)


def test_only_an_image_changes_its_layout_at_an_edge() -> None:
    turning = Peaks(link_bandwidth=float("inf"), layout_bandwidth=100.0)
    plain = Peaks(link_bandwidth=1000.0)
    image, rows = Value("x", "float32", (1, 2, 5, 5)), Value("y", "float32", (10, 5))
    model = CostModel(1)
    assert model.transfer(image, turning, turning) == pytest.approx(200 / 100)
    assert model.transfer(image, plain, turning) == pytest.approx(200 / 100 + 200 / 1000)
    assert model.transfer(rows, plain, turning) == pytest.approx(200 / 1000)
