"""A conformance report as plain text."""

from __future__ import annotations

from byoc.conformance.outcome import CRASHED, FAILED, HANGING, PASSED, STATUSES, Report, refusals
from byoc.text_table import table


def report_text(report: Report) -> str:
    """Counts by op or pattern, what did not pass, what is refused and why, and one last line."""
    subjects: dict[str, dict[str, int]] = {}
    for outcome in report.outcomes:
        counts = subjects.setdefault(outcome.case.partition("/")[0], dict.fromkeys(STATUSES, 0))
        counts[outcome.status] += 1
    rows = [(name, *(counts[s] or "" for s in STATUSES)) for name, counts in subjects.items()]
    blocks = [table(["op or pattern", *STATUSES], rows, "l" + "r" * len(STATUSES))]
    bad = [o for o in report.outcomes if o.status in (FAILED, CRASHED, HANGING)]
    if bad:
        blocks.append(table(["case", "status", "in", "why"], [(o.case, o.status, o.probe, o.reason) for o in bad]))
    refused = [(len(cases), cases[0], reason) for reason, cases in refusals(report.outcomes)]
    if refused:
        blocks.append(table(["refused", "first case", "reason"], refused, "rll"))
    if report.untried:
        blocks.append("no case uses the patterns: " + ", ".join(report.untried))
    blocks.append(summary(report))
    return "\n\n".join(blocks)


def summary(report: Report) -> str:
    """``csource 1.0 conforms: 590 passed, 1 refused``."""
    counts = ", ".join(f"{len(report.of(s))} {s}" for s in STATUSES if report.of(s)) or "no case"
    if report.conforms:
        verdict = "conforms"
    else:
        verdict = "does not conform" if len(report.of(PASSED)) or report.outcomes else "took nothing"
    return f"{report.target} {report.version} {verdict}: {counts}"
