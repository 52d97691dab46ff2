"""byoc's matcher and TVM's agree."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from byoc.patterns import AnyValue, Pattern, match_at, op
from byoc.relax_graph import graph_of
from tests.host.modules import BINARY, UNARY, dag

NAMES = {**{k: f"nn.{k}" if k == "relu" else k for k in UNARY}, **{k: k for k in BINARY}}


@st.composite
def patterns(draw: st.DrawFn, depth: int = 3) -> Pattern:
    kind = draw(st.sampled_from([*UNARY, *BINARY]))
    count = 2 if kind in BINARY else 1
    inputs = [draw(patterns(depth - 1)) if depth > 1 and draw(st.booleans()) else AnyValue() for _ in range(count)]
    return op(NAMES[kind])(*inputs)


@st.composite
def graphs(draw: st.DrawFn) -> object:
    ops = []
    for index in range(draw(st.integers(1, 10))):
        kind = draw(st.sampled_from([*UNARY, *BINARY]))
        ops.append((kind, [draw(st.integers(-2, index - 1)) for _ in range(2 if kind in BINARY else 1)]))
    return dag(ops, range(len(ops)))


@given(graphs(), patterns())
@settings(max_examples=150, deadline=None)
def test_a_pattern_matches_where_its_tvm_form_does(module: object, pattern: Pattern) -> None:
    function = module["main"]  # type: ignore[index]
    graph = graph_of("main", function)
    tvm_form = pattern.to_dpl()
    for node in graph.nodes:
        ours = match_at(pattern, node) is not None
        theirs = tvm_form.extract_matched_expr(node.ref.binding.value, node.ref.home.bound) is not None
        assert ours == theirs, (pattern, node)
