"""docs/operators.md says what the importer and the codegens take."""

from __future__ import annotations

import pytest

from tests.e2e.operators_page import PAGE, lines, page


def test_the_page_has_every_operator_with_what_the_importer_makes_of_it() -> None:
    rows = [line.split("|") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    written = sorted(tuple(cell.strip() for cell in row[1:4]) for row in rows if row[1].strip() != "operator")
    assert written == sorted((line.operator, line.since, line.how) for line in lines())


@pytest.mark.slow
def test_the_page_is_what_its_script_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m tests.e2e.operators_page"
