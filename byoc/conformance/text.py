"""A conformance report as plain text."""

from __future__ import annotations

from textwrap import fill

from byoc.conformance.outcome import CRASHED, FAILED, HANGING, PASSED, STATUSES, Report, refusals
from byoc.text_table import table


def report_text(report: Report) -> str:
    """Counts by op or pattern, what did not pass, what is refused and why, and one last line.

    Ops that no pattern has are named in one sentence.
    """
    beyond = f"no pattern of {report.target} has the op "
    subjects: dict[str, dict[str, int]] = {}
    for outcome in report.outcomes:
        if not outcome.reason.startswith(beyond):
            counts = subjects.setdefault(outcome.case.partition("/")[0], dict.fromkeys(STATUSES, 0))
            counts[outcome.status] += 1
    rows = [(name, *(counts[s] or "" for s in STATUSES)) for name, counts in subjects.items()]
    blocks = [table(["op or pattern", *STATUSES], rows, "l" + "r" * len(STATUSES))] if rows else []
    bad = [o for o in report.outcomes if o.status in (FAILED, CRASHED, HANGING)]
    if bad:
        blocks.append(table(["case", "status", "in", "why"], [(o.case, o.status, o.probe, o.reason) for o in bad]))
    reasons = refusals(report.outcomes)
    refused = [(len(cases), cases[0], reason) for reason, cases in reasons if not reason.startswith(beyond)]
    if refused:
        blocks.append(table(["refused", "first case", "reason"], refused, "rll"))
    ops = sorted(reason.removeprefix(beyond) for reason, _ in reasons if reason.startswith(beyond))
    if ops:
        blocks.append(fill(f"no pattern has the ops: {', '.join(ops)}", 110, subsequent_indent="  "))
    if report.untried:
        blocks.append(fill(f"no case uses the patterns: {', '.join(report.untried)}", 110, subsequent_indent="  "))
    if report.loses_nan:
        blocks.append(fill(f"tried without NaN, which may get lost in: {', '.join(report.loses_nan)}", 110,
                           subsequent_indent="  "))  # fmt: skip
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
