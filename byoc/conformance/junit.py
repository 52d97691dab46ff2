"""A conformance report as JUnit XML, as CI servers read it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from byoc.conformance.outcome import CRASHED, FAILED, HANGING, REFUSED, Report

_ELEMENTS = {FAILED: "failure", CRASHED: "error", HANGING: "error", REFUSED: "skipped"}


def junit_xml(report: Report) -> str:
    """One test case for each case; its class name is the op or pattern."""
    counts = {
        "tests": len(report.outcomes),
        "failures": len(report.of(FAILED)),
        "errors": len(report.of(CRASHED)) + len(report.of(HANGING)),
        "skipped": len(report.of(REFUSED)),
    }
    attributes = {key: str(value) for key, value in counts.items()}
    suite = ElementTree.Element("testsuite", {"name": f"byoc conformance of {report.target}", **attributes})
    for outcome in report.outcomes:
        subject, _, what = outcome.case.partition("/")
        names = {"classname": f"{report.target}.{subject}", "name": what, "time": f"{outcome.seconds:.3f}"}
        test = ElementTree.SubElement(suite, "testcase", names)
        if outcome.status in _ELEMENTS:
            told = f"{outcome.probe}: {outcome.reason}" if outcome.probe else outcome.reason
            child = ElementTree.SubElement(test, _ELEMENTS[outcome.status], {"message": _printable(told)})
            if outcome.status != REFUSED:
                child.set("type", outcome.status)
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _printable(text: str) -> str:
    """XML 1.0 has no control characters."""
    return "".join(c if c.isprintable() else " " for c in text)
