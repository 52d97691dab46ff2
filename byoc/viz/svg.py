"""A still picture of a plan: SVG without scripts, for documents, and for notebooks that run none."""

from __future__ import annotations

import html
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from byoc.explain.rows import counted, node_label
from byoc.explain.text import counts_text
from byoc.partitioner.plan import HOST
from byoc.text_table import flops_text
from byoc.viz.palette import HOST_MARK, Mark, mark
from byoc.viz.scene import FUNCTION_GAP, HEADER, OP_SIZE, FunctionScene, Item, scene

if TYPE_CHECKING:
    from byoc.partitioner.plan import Partition, Plan, PlannedOp
    from byoc.viz.layered import Drawing, Route

_STYLE = """
svg.byoc{--paper:#fbfbfc;--box:#fff;--ink:#1d2129;--soft:#5b6472;--edge:#8b94a3;
font:12px system-ui,"DejaVu Sans",sans-serif}
@media(prefers-color-scheme:dark){svg.byoc{--paper:#14171c;--box:#20252d;--ink:#eceff4;--soft:#a4adbb;--edge:#77818f}}
.byoc text{fill:var(--ink)}.byoc .soft{fill:var(--soft);font-size:11px}.byoc .bold{font-weight:bold}
.byoc path{fill:none;stroke:var(--edge)}.byoc .box{fill:var(--box)}.byoc pattern path{stroke:#fff;stroke-width:1.6}
"""
_STROKES = {
    "plain": "",
    "diagonal": "M-2 10L10-2",
    "back-diagonal": "M-2-2L10 10",
    "horizontal": "M0 4H8",
    "vertical": "M4 0V8",
    "cross": "M0 4H8M4 0V8",
    "dots": "M1 2h2M5 6h2",
}
_LEGEND = 34.0
_CHARACTER = 6.9  # widest usual advance of the 12 px font


def plan_svg(plan: Plan, *, expanded: bool = False) -> str:
    """The picture as SVG text; `expanded` shows the ops inside partitions."""
    parts, left, height = [], 0.0, 0.0
    for drawn in scene(plan):
        drawing = drawn.expanded if expanded else drawn.collapsed
        parts.append(f'<g transform="translate({left:g} {_LEGEND:g})">{_function(plan, drawn, expanded)}</g>')
        left += drawing.width + FUNCTION_GAP
        height = max(height, drawing.height)
    width, height = max(left - FUNCTION_GAP, 120.0 * (len(plan.targets) + 1)), height + _LEGEND
    head = f'<svg xmlns="http://www.w3.org/2000/svg" class="byoc" viewBox="0 0 {width:.0f} {height:.0f}"'
    size = f' width="{width:.0f}" height="{height:.0f}" role="img" aria-label="{_text(plan.summary())}">'
    background = f'<rect width="{width:.0f}" height="{height:.0f}" style="fill:var(--paper)"/>'
    return f"{head}{size}<style>{_STYLE}</style>{_patterns(plan)}{background}{_legend(plan)}{''.join(parts)}</svg>"


def _text(text: str) -> str:
    """Escaped, without what XML forbids."""
    return html.escape("".join(c if c.isprintable() else " " for c in text))


def _marks(plan: Plan) -> dict[str, Mark]:
    return {t.name: mark(k) for k, t in enumerate(plan.targets)} | {HOST: HOST_MARK}


def _patterns(plan: Plan) -> str:
    patterns = [
        f'<pattern id="byoc-mark{k}" width="8" height="8" patternUnits="userSpaceOnUse">'
        f'<rect width="8" height="8" fill="{m.colour}"/><path d="{_STROKES[m.pattern]}"/></pattern>'
        for k, m in enumerate(_marks(plan).values())
    ]
    return f"<defs>{''.join(patterns)}</defs>"


def _fill(plan: Plan, owner: str) -> str:
    return f"url(#byoc-mark{list(_marks(plan)).index(owner)})"


def _legend(plan: Plan) -> str:
    parts, x = [], 20.0
    for owner in _marks(plan):
        parts.append(f'<rect x="{x:g}" y="12" width="24" height="14" fill="{_fill(plan, owner)}"/>')
        parts.append(f'<text x="{x + 30:g}" y="24">{_text(owner)}</text>')
        x += 54 + _CHARACTER * len(owner)
    return "".join(parts)


def _function(plan: Plan, drawn: FunctionScene, expanded: bool) -> str:
    drawing = drawn.expanded if expanded else drawn.collapsed
    parts = [_routes(drawing)]
    for item, place in zip(drawn.items, drawing.places, strict=True):
        parts.append(f'<g transform="translate({place.x:.1f} {place.y:.1f})">{_item(plan, drawn, item, expanded)}</g>')
    return "".join(parts)


def _item(plan: Plan, drawn: FunctionScene, item: Item, expanded: bool) -> str:
    if item.partition < 0:
        return _op(plan, drawn.function.ops[item.op])
    partition = drawn.function.partitions[item.partition]
    size = drawn.size_of(item, expanded)
    ops = [drawn.function.ops[i] for i in partition.ops]
    title = f"{partition.target} {partition.index}"
    amount = f"{len(ops)} op{'s' * (len(ops) != 1)}, {flops_text(sum(op.flops for op in ops))}"
    frame = _frame(plan, partition.target, size, 14, hint=partition.symbol)
    if not expanded:
        return frame + _lines(22, size[0] - 30, title, amount, _composites(partition))
    inner = drawn.inner[item.partition]
    left = (size[0] - inner.width) / 2
    places = "".join(
        f'<g transform="translate({place.x:.1f} {place.y:.1f})">{_op(plan, op)}</g>'
        for op, place in zip(ops, inner.places, strict=True)
    )
    heading = f'<text class="bold" x="22" y="19">{_text(f"{title}: {amount}")}</text>'
    return f'{frame}{heading}<g transform="translate({left:.1f} {HEADER:g})">{_routes(inner)}{places}</g>'


def _composites(partition: Partition) -> str:
    return counts_text(counted(c.pattern for c in partition.composites))


def _op(plan: Plan, op: PlannedOp) -> str:
    hint = "\n".join(f"{v.target}: {v.reason}" for v in op.verdicts if v.reason)
    frame = _frame(plan, op.owner, OP_SIZE, 9, hint=f"{node_label(op)}\n{hint}".strip())
    return frame + _lines(15, OP_SIZE[0] - 20, op.op_type or op.op, node_label(op), keep_end=True)


def _frame(plan: Plan, owner: str, size: tuple[float, float], band: int, hint: str) -> str:
    title = "&#10;".join(_text(line) for line in hint.splitlines())
    return (
        f"<title>{title}</title>"
        f'<rect class="box" width="{size[0]:.1f}" height="{size[1]:.1f}" rx="5" stroke="{_marks(plan)[owner].colour}"/>'
        f'<rect width="{band}" height="{size[1]:.1f}" fill="{_fill(plan, owner)}"/>'
    )


def _lines(x: float, room: float, first: str, *others: str, keep_end: bool = False) -> str:
    step, y = (15, 16) if len(others) == 1 else (20, 21)
    parts = [f'<text class="bold" x="{x:g}" y="{y}">{_text(_cut(first, room))}</text>']
    for k, line in enumerate(others, start=1):
        shown = _text(_cut(line, room * 1.08, keep_end))
        parts.append(f'<text class="soft" x="{x:g}" y="{y + k * step}">{shown}</text>')
    return "".join(parts)


def _cut(text: str, room: float, keep_end: bool = False) -> str:
    fits = max(2, int(room / _CHARACTER))
    if len(text) <= fits:
        return text
    return f"…{text[len(text) - fits + 1 :]}" if keep_end else f"{text[: fits - 1]}…"


def _routes(drawing: Drawing) -> str:
    return f'<path d="{"".join(_path(r) for r in drawing.routes)}"/>' if drawing.routes else ""


def _path(route: Route) -> str:
    points = [(x, y) for x, y, _ in route.points]
    x, y = points[-1]
    arrow = f"M{x - 3.5:.1f} {y - 6:.1f}L{x:.1f} {y:.1f}L{x + 3.5:.1f} {y - 6:.1f}"
    start = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    if route.side:
        return start + "".join(f"L{x:.1f} {y:.1f}" for x, y in points[1:]) + arrow
    return start + _curves(points) + arrow


def _curves(points: Sequence[tuple[float, float]]) -> str:
    parts = []
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        bend = (y1 - y0) / 2
        parts.append(f"C{x0:.1f} {y0 + bend:.1f} {x1:.1f} {y1 - bend:.1f} {x1:.1f} {y1:.1f}")
    return "".join(parts)
