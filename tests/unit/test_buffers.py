"""Tensors that are alive together never share memory, and memory is reused when they are not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from byoc.lower.buffers import ALIGNMENT, Request, plan_buffers

requests = st.lists(
    st.tuples(st.integers(0, 5000), st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=20
).map(lambda rows: [Request(k, n, min(a, b), max(a, b)) for k, (n, a, b) in enumerate(rows)])


@given(requests)
def test_tensors_alive_together_do_not_overlap(wanted: list[Request]) -> None:
    plan = plan_buffers(wanted)
    for a in wanted:
        assert plan.static[a.key] % ALIGNMENT == 0
        assert plan.static[a.key] + a.nbytes <= plan.static_bytes
        for b in wanted:
            if a.key != b.key and a.first <= b.last and b.first <= a.last and a.nbytes and b.nbytes:
                begin, other = plan.static[a.key], plan.static[b.key]
                assert begin + a.nbytes <= other or other + b.nbytes <= begin


def test_a_dead_tensors_memory_is_used_again() -> None:
    chain = [Request(k, 64, k, k + 1) for k in range(10)]
    assert plan_buffers(chain).static_bytes == 128


def test_nothing_asked_for_is_nothing_reserved() -> None:
    assert plan_buffers([]).nbytes == 0
