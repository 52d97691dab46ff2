"""``byoc conformance``: the whole report of a codegen at fault, as it is printed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.golden import golden

MUTANTS = Path(__file__).parents[1] / "codegens" / "mutants.py"
CASES = (
    "max/last axis", "max/NaN and infinities", "nn.relu/odd size", "nn.relu/float16", "exp/float64",
)  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "code", "name"),
    [
        ("none", 0, "conformance-right.txt"),
        ("drops NaN", 9, "conformance-drops-nan.txt"),
        ("exits", 9, "conformance-exits.txt"),
    ],
)
def test_the_report_is_this(fault: str, code: int, name: str) -> None:
    cases = [word for case in CASES for word in ("--case", case)]
    command = [sys.executable, "-m", "byoc", "conformance", "--plugin", str(MUTANTS), "--target", "mutant"]
    ran = subprocess.run(
        [*command, "--option", f"mutant.fault={fault}", *cases], capture_output=True, text=True, check=False
    )
    assert ran.stdout == golden(name), ran.stderr
    assert ran.returncode == code
