"""pytest plugin: one test for each conformance case of a codegen.

A test marked ``@pytest.mark.conformance("myaccel")`` that takes the fixture ``conformance_case`` becomes one test for
each case.  All are run, each in a process of its own, before the first one is judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from byoc.conformance.case import Case
    from byoc.conformance.outcome import Outcome

_OUTCOMES = pytest.StashKey["dict[str, dict[str, Outcome]]"]()


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers", "conformance(target, wanted='', options=None, timeout=60): one test for each case of a codegen"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each case, named after it."""
    marker = metafunc.definition.get_closest_marker("conformance")
    if marker is None or "conformance_case" not in metafunc.fixturenames:
        return
    target, options, wanted = _arguments(marker)
    from byoc.conformance.run import cases_for
    from byoc.partitioner.target import find_targets

    found = find_targets([target], {target: options} if options else None)[0]
    cases = cases_for(found, wanted)
    metafunc.parametrize("conformance_case", cases, ids=[case.name.replace(" ", "-") for case in cases], indirect=True)


@pytest.fixture
def conformance_case(request: pytest.FixtureRequest) -> Case:
    """A case that passed; a refused one is skipped, and any other fails the test with the reason."""
    marker = request.node.get_closest_marker("conformance")
    target, options, _ = _arguments(marker)
    known = request.config.stash.setdefault(_OUTCOMES, {})
    if target not in known:
        known[target] = _examine(request, target, options, marker.kwargs.get("timeout"))
    outcome = known[target][request.param.name]
    if outcome.status == "refused":
        pytest.skip(f"refused: {outcome.reason}")
    if outcome.status != "passed":
        pytest.fail(f"{outcome.status} in {outcome.probe}: {outcome.reason}", pytrace=False)
    case: Case = request.param
    return case


def _arguments(marker: pytest.Mark) -> tuple[str, Mapping[str, Any], str]:
    target = marker.args[0] if marker.args else marker.kwargs.get("target")
    if not target:
        raise pytest.UsageError('write @pytest.mark.conformance("name of the codegen")')
    return str(target), marker.kwargs.get("options") or {}, marker.kwargs.get("wanted", "")


def _examine(
    request: pytest.FixtureRequest, target: str, options: Mapping[str, Any], timeout: float | None
) -> dict[str, Outcome]:
    """Outcomes of every case of that target which this session selected."""
    from byoc.conformance.apart import conformance_apart
    from byoc.conformance.run import TIMEOUT

    names: dict[str, None] = {}
    for item in request.session.items:
        marker = item.get_closest_marker("conformance")
        callspec = getattr(item, "callspec", None)
        if marker is not None and callspec is not None and _arguments(marker)[0] == target:
            names[callspec.params["conformance_case"].name] = None
    report = conformance_apart(target, list(names), options=options, timeout=timeout or TIMEOUT)
    return {outcome.case: outcome for outcome in report.outcomes}
