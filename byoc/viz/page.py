"""One HTML file that needs nothing else: no server, no network, no script but its own.

The model's texts are untrusted.  Those in the markup are escaped; the others are JSON in a data block, in which no
character could end the block, and reach the page as text only.  A content security policy that names the hash of the
one script stops anything else from running or loading.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any

from byoc.explain import explain_text
from byoc.viz.document import document
from byoc.viz.svg import plan_svg

if TYPE_CHECKING:
    from byoc.partitioner.plan import Plan
    from byoc.viz.overlay import Overlay

_SCRIPTS = ("model.js", "geometry.js", "paint.js", "panel.js", "view.js")
_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def plan_page(plan: Plan, overlays: Sequence[Overlay] = ()) -> str:
    """The page of a plan as HTML text."""
    script, style = _asset(*_SCRIPTS), _asset("page.css")
    return Template(_asset("page.html")).substitute(
        title=html.escape(plan.model_name),
        summary=html.escape(plan.summary()),
        text=html.escape(explain_text(plan)),
        picture=plan_svg(plan),
        data=safe_json(document(plan, overlays)),
        style=style,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


@cache
def _asset(*names: str) -> str:
    texts = [(files("byoc.viz") / "static" / name).read_text(encoding="utf-8") for name in names]
    return '"use strict";\n(() => {\n' + "\n".join(texts) + "})();\n" if len(texts) > 1 else texts[0]


def safe_json(value: Any) -> str:
    """JSON for a data block in a page: no character in it could end the block."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character, escape in _UNSAFE.items():
        text = text.replace(character, escape)
    return text
