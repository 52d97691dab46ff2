"""Conformance passes a codegen that is right, and finds every fault that it is made to commit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import byoc
from byoc.conformance.apart import conformance_apart
from byoc.conformance.outcome import CRASHED, FAILED, HANGING, REFUSED

PLUGIN = Path(__file__).with_name("mutants.py")
BIAS = "matmul_bias/alternative 0, vectors along the channels, odd sizes"
RELU = "nn.relu/odd size"
CACHE = "byoc.kv_attention/k32v32"
EVERY_CASE = (
    BIAS, RELU, "nn.relu/dynamic", "nn.relu/special values", "nn.relu/empty", "nn.relu/large, threads",
    "nn.conv2d/all at once", "nn.conv2d/dynamic batch", "add/both are broadcast", "add/dynamic", "add/channels",
    "max/last axis", "max/first axis, kept", "max/dynamic", "max/NaN and infinities",
    "max/NaN and infinities, first axis", CACHE,
)  # fmt: skip


FOUND = (
    ("ignores bias", BIAS, FAILED, "run", "elements are wrong"),
    ("wrong axis", "max/last axis", FAILED, "run", "elements are wrong"),
    ("skips the tail", RELU, FAILED, "run", "elements are wrong"),
    ("drops NaN", "max/NaN and infinities", FAILED, "run", "not nan"),
    ("static buffer", "nn.relu/large, threads", FAILED, "several threads", "several threads run at the same time"),
    ("wrong on the second run", RELU, FAILED, "second run, on other values", "elements are wrong"),
    ("crashes", RELU, CRASHED, "run", "killed by SIGSEGV"),
    ("exits", RELU, CRASHED, "run", "exited with 3"),
    ("ignores padding", "nn.conv2d/all at once", FAILED, "run", "elements are wrong"),
    ("ignores dilation", "nn.conv2d/all at once", FAILED, "run", "elements are wrong"),
    ("wraps instead of broadcasting", "add/both are broadcast", FAILED, "run", "elements are wrong"),
    ("wraps instead of broadcasting", "add/channels", FAILED, "run", "elements are wrong"),
    ("writes beyond the end", RELU, FAILED, "memory of its own", "beyond its end of output or workspace 0"),
    ("changes its input", RELU, FAILED, "run", "changed the input x"),
    ("adds to what was there", BIAS, FAILED, "", "elements are wrong"),
    ("reads uninitialised scratch", BIAS, FAILED, "", "elements are wrong"),
    ("raises", RELU, FAILED, "compile", "emit raised ValueError: this codegen is wrong"),
    ("refuses in emit", RELU, REFUSED, "compile", "the tile does not fit"),
    ("does not compile", RELU, REFUSED, "compile", "the C compiler refuses its code"),
    ("forgets what the cache holds", CACHE, FAILED, "call 2", "elements are wrong"),
    ("counts tokens by itself", CACHE, FAILED, "after a reset, call 1", "elements are wrong"),
    ("reuses a stale size", "nn.relu/dynamic", FAILED, "", "elements are wrong"),
)

# All in one process that has loaded TVM and compiled something; it prints one report a line.
EXAMINE = """
import json, sys
from pathlib import Path
import byoc
from byoc.conformance.run import cases_for, conformance
from byoc.partitioner.target import find_targets
byoc.load_plugin(Path(sys.argv[1]))
for target, fault, names, timeout in json.loads(sys.argv[2]):
    options = {"fault": fault}
    cases = cases_for(find_targets([target], {target: options})[0], names=names)
    print(json.dumps(conformance(target, options=options, cases=cases, timeout=timeout).to_json()), flush=True)
"""


@pytest.fixture(scope="module")
def reports() -> dict[tuple[str, str], dict]:
    """A report for each thing to examine, by target and fault."""
    faults: dict[tuple[str, str], list[str]] = {("mutant", "none"): [*EVERY_CASE, "nn.relu/float16"]}
    for fault, case, *_ in FOUND:
        faults.setdefault(("mutant", fault), []).append(case)
    faults["mutant", "hangs"] = [RELU]
    faults["modest_mutant", "drops NaN"] = ["max/NaN and infinities"]
    asked = [(*key, cases, 4.0 if key[1] == "hangs" else 30.0) for key, cases in faults.items()]
    command = [sys.executable, "-c", EXAMINE, str(PLUGIN), json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == len(asked), done.stderr
    return dict(zip(faults, told, strict=True))


def outcome_of(report: dict, case: str) -> dict:
    return next(outcome for outcome in report["outcomes"] if outcome["case"] == case)


def test_the_right_codegen_conforms(reports) -> None:
    report = reports["mutant", "none"]
    assert [(o["case"], o["reason"]) for o in report["outcomes"] if o["status"] != "passed"] == [
        ("nn.relu/float16", "takes float32 only")
    ]
    assert report["conforms"]


@pytest.mark.parametrize(("fault", "case", "status", "probe", "reason"), FOUND)
def test_a_fault_is_found(reports, fault: str, case: str, status: str, probe: str, reason: str) -> None:
    outcome = outcome_of(reports["mutant", fault], case)
    assert outcome["status"] == status, outcome
    assert probe in outcome["probe"] and reason in outcome["reason"], outcome


def test_a_hang_is_found_and_ended(reports) -> None:
    outcome = outcome_of(reports["mutant", "hangs"], RELU)
    assert (outcome["status"], outcome["probe"]) == (HANGING, "run"), outcome
    assert outcome["reason"] == "did not end within 4 s"


def test_a_codegen_whose_every_case_is_refused_does_not_conform(reports) -> None:
    assert not reports["mutant", "refuses in emit"]["conforms"]


def test_a_nan_may_get_lost_where_the_codegen_says_so(reports) -> None:
    report = reports["modest_mutant", "drops NaN"]
    assert report["conforms"] and report["loses_nan"] == ["max"]


def test_another_process_can_examine_a_codegen_from_a_plugin() -> None:
    byoc.load_plugin(PLUGIN)
    report = conformance_apart("mutant", [RELU], options={"fault": "skips the tail"})
    assert [(o.case, o.status) for o in report.outcomes] == [(RELU, FAILED)]
