"""Pictures of a plan: the layout, the still picture, the page as text, overlays."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import math
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byoc.errors import UsageError
from byoc.partitioner.plan import FunctionPlan, Plan, Verdict
from byoc.viz import notebook_html, overlay_of, plan_page, plan_svg, read_overlay
from byoc.viz.layered import BOX_GAP, draw
from byoc.viz.palette import HOST_MARK, mark
from tests.unit.large_plan import large_plan
from tests.unit.sample_plan import planned, sample_plan

EVIL = "</script><script>alert(1)</script>\"'&]]>\u2028<img src=x onerror=alert(2)>"


@st.composite
def graphs(draw_from: st.DrawFn) -> tuple[list[tuple[float, float]], list[tuple[int, int]]]:
    count = draw_from(st.integers(1, 40))
    sizes = draw_from(st.lists(st.tuples(st.floats(10, 400), st.floats(10, 900)), min_size=count, max_size=count))
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(lambda p: p[0] < p[1])
    return sizes, draw_from(st.lists(pairs, max_size=60)) if count > 1 else []


@given(graphs())
@settings(max_examples=60, deadline=None)
def test_boxes_never_overlap_and_lie_inside_the_drawing(
    graph: tuple[list[tuple[float, float]], list[tuple[int, int]]],
) -> None:
    sizes, edges = graph
    drawing = draw(sizes, edges)
    rects = [(p.x, p.y, p.x + w, p.y + h) for p, (w, h) in zip(drawing.places, sizes, strict=True)]
    for k, (x0, y0, x1, y1) in enumerate(rects):
        assert x0 >= 0 and y0 >= 0 and x1 <= drawing.width + 1e-6 and y1 <= drawing.height + 1e-6
        for u0, v0, u1, v1 in rects[:k]:
            apart = x1 + BOX_GAP <= u0 + 1e-6 or u1 + BOX_GAP <= x0 + 1e-6 or y1 <= v0 + 1e-6 or v1 <= y0 + 1e-6
            assert apart


@given(graphs())
@settings(max_examples=60, deadline=None)
def test_every_edge_runs_from_the_bottom_of_its_source_to_the_top_of_its_target(
    graph: tuple[list[tuple[float, float]], list[tuple[int, int]]],
) -> None:
    sizes, edges = graph
    drawing = draw(sizes, edges)
    assert {(r.source, r.target) for r in drawing.routes} == set(edges)
    for route in drawing.routes:
        source, target = drawing.places[route.source], drawing.places[route.target]
        assert route.points[0] == (
            source.x + sizes[route.source][0] / 2,
            source.y + sizes[route.source][1],
            source.column,
        )
        assert route.points[-1] == (target.x + sizes[route.target][0] / 2, target.y, target.column)
        assert (source.column, source.y) < (target.column, target.y)


def test_a_long_chain_is_folded_into_columns_of_about_the_same_height() -> None:
    drawing = draw([(100.0, 40.0)] * 400, [(k, k + 1) for k in range(399)])
    columns = [sum(p.column == c for p in drawing.places) for c in range(drawing.places[-1].column + 1)]
    assert len(columns) > 5 and max(columns) - min(columns) <= 4
    assert 0.5 < drawing.width / drawing.height < 3


def test_a_short_chain_stays_in_one_column() -> None:
    assert {p.column for p in draw([(100.0, 40.0)] * 8, [(k, k + 1) for k in range(7)]).places} == {0}


def test_the_two_branches_of_a_residual_block_stand_side_by_side() -> None:
    drawing = draw([(100.0, 40.0)] * 4, [(0, 1), (0, 2), (1, 3), (2, 3)])
    start, left, right, end = drawing.places
    assert left.y == right.y and {left.x, right.x} == {start.x - 59, start.x + 59}
    assert end.x == start.x and end.y > left.y > start.y


def test_no_two_of_the_first_targets_share_a_colour_or_neighbouring_patterns() -> None:
    marks = [mark(k) for k in range(6)]
    assert len({m.colour for m in marks}) == len({m.pattern for m in marks}) == 6
    assert HOST_MARK.pattern not in {m.pattern for m in marks}


def evil_plan() -> Plan:
    verdict = Verdict("acc", False, "check", EVIL, EVIL, EVIL)
    op = dataclasses.replace(planned(0, EVIL, EVIL, EVIL, 1, verdict), dtype=EVIL, shape=(1, EVIL))
    return dataclasses.replace(sample_plan(), model_name=EVIL, functions=(FunctionPlan(EVIL, (op,), ()),))


def test_names_from_the_model_cannot_leave_the_data_block_or_become_markup() -> None:
    page = plan_page(evil_plan())
    scripts = re.findall(r"<script\b[^>]*>", page)
    assert scripts == ['<script type="application/json" id="plan">', "<script>"]
    assert "<img src=x" not in page
    data = re.search(r'id="plan">(.*?)</script>', page, re.DOTALL)
    assert data is not None and not set("<>&\u2028") & set(data[1])
    assert json.loads(data[1])["functions"][0]["ops"][0][1] == EVIL


def test_the_policy_of_the_page_allows_its_own_script_and_nothing_else() -> None:
    page = plan_page(sample_plan())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    script = re.search(r"<script>(.*)</script>", page, re.DOTALL)
    assert policy is not None and script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}';" in policy[1]


def test_the_page_names_no_other_place() -> None:
    page = plan_page(sample_plan()).replace("http://www.w3.org/2000/svg", "")
    assert re.findall(r"https?:|//[a-z]+\.|\bsrc=|\bhref=|url\((?!#)|@import", page) == []


def test_the_same_plan_gives_the_same_page() -> None:
    assert plan_page(large_plan(300)) == plan_page(large_plan(300))


@pytest.mark.parametrize("expanded", [False, True])
def test_the_still_picture_is_well_formed_whatever_the_names(expanded: bool) -> None:
    for plan in (evil_plan(), large_plan(200), dataclasses.replace(sample_plan(), model_name="\x00\x1b")):
        root = ElementTree.fromstring(plan_svg(plan, expanded=expanded))
        tags = {element.tag.removeprefix("{http://www.w3.org/2000/svg}") for element in root.iter()}
        assert tags <= {"svg", "style", "defs", "pattern", "rect", "path", "g", "title", "text"}


def test_the_still_picture_shows_closed_partitions_or_the_ops_inside() -> None:
    closed, opened = plan_svg(sample_plan()), plan_svg(sample_plan(), expanded=True)
    assert ">acc 0<" in closed and "2 ops, 8.1 kFLOP" in closed and ">/fc/MatMul<" not in closed
    assert ">/fc/MatMul<" in opened and ">/norm/Pow<" in closed and ">/norm/Pow<" in opened


def test_a_notebook_gets_the_page_in_a_sandbox_and_a_picture_without_scripts() -> None:
    shown = notebook_html(sample_plan())
    assert 'sandbox="allow-scripts"' in shown and "allow-same-origin" not in shown
    assert re.findall(r"<script\b", shown) == [] and "data:image/svg+xml;base64," in shown
    assert "Why on the host" in shown
    assert sample_plan()._repr_mimebundle_() == {"text/plain": sample_plan().summary(), "text/html": shown}


def test_a_notebook_gets_no_page_of_a_plan_that_is_too_large_for_its_file() -> None:
    op = sample_plan().functions[0].ops[4]
    many = tuple(dataclasses.replace(op, index=k, producers=()) for k in range(5001))
    plan = dataclasses.replace(sample_plan(), functions=(FunctionPlan("main", many, ()),))
    assert "<iframe" not in notebook_html(plan)


def test_a_plan_without_ops_has_a_picture_too() -> None:
    plan = dataclasses.replace(sample_plan(), functions=(FunctionPlan("main", (), ()),))
    assert ElementTree.fromstring(plan_svg(plan)) is not None and "plan" in plan_page(plan)


def test_overlays_take_numbers_by_symbol_and_node_and_let_the_rest_be() -> None:
    document = {
        "partitions": [{"symbol": "a_0", "seconds": 1.5, "calls": 3}, {"symbol": "a_0", "seconds": 0.5}, {"x": 1}],
        "ops": [{"node": "/Softmax", "seconds": 0.25, "error": "inf"}, {"node": "", "seconds": 1}, "odd"],
        "total": 3,
    }
    times = overlay_of(document, "seconds")
    assert times.partitions == {"a_0": 2.0} and times.ops == {"/Softmax": 0.25}
    assert overlay_of({"entry": "main", "ops": [{"ops": [2, 3], "nodes": [], "seconds": 1}]}, "seconds").indices == {
        ("main", 2): 1.0,
        ("main", 3): 1.0,
    }
    assert overlay_of(document, "error").ops == {"/Softmax": math.inf}
    assert '"seconds":{"partitions":{"a_0":2.0},"ops":{"main":{"4":0.25}}}' in plan_page(sample_plan(), [times])


@pytest.mark.parametrize(
    ("text", "what"),
    [("{", "is not JSON"), ('{"partitions": [{"symbol": "a", "seconds": true}]}', 'has no "seconds" of any partition')],
)
def test_a_file_that_measures_nothing_is_refused(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "p.json").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=re.escape(what)) as caught:
        read_overlay(tmp_path / "p.json", "seconds")
    assert caught.value.todo == 'give the output of "byoc profile --json"'
