"""How the documentation is built: ``make docs``, warnings are errors."""

from __future__ import annotations

import re
from importlib import metadata
from typing import Any

project = "byoc"
author = "The byoc contributors"
copyright = author
release = metadata.version("byoc")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"byoc {release}"

myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_timeout = 120
nb_execution_raise_on_error = True
nb_execution_in_temp = True

default_role = "code"
napoleon_google_docstring = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"

_SECTIONS = ("Parameters", "Attributes")


def split_entries(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Our docstrings say ``name: what it is`` on one line; NumPy's convention wants the text on the next."""
    written, inside = [], False
    for position, line in enumerate(lines):
        rule = lines[position + 1] if position + 1 < len(lines) else ""
        if rule and set(rule) == {"-"}:
            inside = line in _SECTIONS
        entry = re.match(r"([\w*]+(?:, [\w*]+)*): (.+)", line) if inside else None
        written += [entry[1], f"    {entry[2]}"] if entry else [line]
    lines[:] = written


def setup(app: Any) -> None:
    """Called by Sphinx; before napoleon reads the docstrings."""
    app.connect("autodoc-process-docstring", split_entries, priority=100)
