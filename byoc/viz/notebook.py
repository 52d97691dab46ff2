"""A plan inside a notebook: the page in a frame of its own, and a still picture where no scripts are run."""

from __future__ import annotations

import base64
import html
from typing import TYPE_CHECKING

from byoc.explain import explain_text
from byoc.viz.page import plan_page
from byoc.viz.svg import plan_svg

if TYPE_CHECKING:
    from byoc.partitioner.plan import Plan

_MOST_OPS = 5000  # a larger page would make the notebook's file unwieldy


def notebook_html(plan: Plan) -> str:
    """An HTML fragment; the page runs in a sandbox without access to the notebook."""
    picture = base64.b64encode(plan_svg(plan).encode()).decode()
    still = (
        f'<img alt="{html.escape(plan.summary())}" src="data:image/svg+xml;base64,{picture}" style="max-width:100%">'
    )
    text = f"<pre>{html.escape(explain_text(plan))}</pre>"
    if sum(len(function.ops) for function in plan.functions) > _MOST_OPS:
        return f"<div>{still}{text}</div>"
    page = html.escape(plan_page(plan))
    frame = f'<iframe sandbox="allow-scripts" style="width:100%;height:640px;border:0" srcdoc="{page}"></iframe>'
    return f"<div>{frame}<details><summary>Picture and text without scripts</summary>{still}{text}</details></div>"
