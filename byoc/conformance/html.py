"""A conformance report as one HTML file, without scripts or network."""

from __future__ import annotations

from html import escape

from byoc.conformance.outcome import FAILED, HANGING, PASSED, REFUSED, STATUSES, Outcome, Report, refusals
from byoc.conformance.text import summary

_SIGNS = {PASSED: "✓", FAILED: "✗", "crashed": "⚡", HANGING: "⌛", REFUSED: "○"}
_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); vertical-align: top; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
.failed, .crashed, .hanging { color: #c2410c; font-weight: 600; }
.passed { color: #0369a1; }
.refused { opacity: .7; }
@media (prefers-color-scheme: dark) { .failed, .crashed, .hanging { color: #fb923c; } .passed { color: #7dd3fc; } }
details { margin: .2rem 0; } summary { cursor: pointer; }
"""  # noqa: E501


def report_html(report: Report) -> str:
    """What did not pass first, then what is refused, then every case by op or pattern."""
    bad = [o for o in report.outcomes if o.status not in (PASSED, REFUSED)]
    title = escape(f"Conformance of {report.target} {report.version}")
    parts = [f"<h1>{title}</h1><p>{escape(summary(report))}</p>"]
    if bad:
        parts.append("<h2>Not passed</h2>" + _table(("case", "status", "in", "why"), [_cells(o) for o in bad]))
    refused = refusals(report.outcomes)
    if refused:
        rows = [f'<td class="n">{len(c)}</td><td>{escape(c[0])}</td><td>{escape(r)}</td>' for r, c in refused]
        parts.append("<h2>Refused</h2>" + _table(("cases", "first", "reason"), rows))
    if report.loses_nan:
        parts.append(f"<p>Tried without NaN, which may get lost in: {escape(', '.join(report.loses_nan))}.</p>")
    parts.append("<h2>All cases</h2>")
    subjects: dict[str, list[Outcome]] = {}
    for outcome in report.outcomes:
        subjects.setdefault(outcome.case.partition("/")[0], []).append(outcome)
    for subject, outcomes in subjects.items():
        counts = " ".join(_count(outcomes, status) for status in STATUSES)
        rows = [_cells(outcome) for outcome in outcomes]
        body = _table(("case", "status", "in", "why"), rows)
        parts.append(f"<details><summary>{escape(subject)} {counts}</summary>{body}</details>")
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(parts) + "\n</body></html>\n"


def _count(outcomes: list[Outcome], status: str) -> str:
    number = sum(o.status == status for o in outcomes)
    return f'<span class="{status}" title="{status}">{_SIGNS[status]} {number}</span>' if number else ""


def _cells(outcome: Outcome) -> str:
    status = f'<td class="{outcome.status}">{_SIGNS[outcome.status]} {outcome.status}</td>'
    told = f"<td>{escape(outcome.probe)}</td><td>{escape(outcome.reason)}</td>"
    return f"<td>{escape(outcome.case)}</td>{status}{told}"


def _table(headers: tuple[str, ...], rows: list[str]) -> str:
    head = "".join(f"<th>{escape(h)}</th>" for h in headers)
    return f"<table><tr>{head}</tr>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"
