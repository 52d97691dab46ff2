"""Conformance passes a codegen that is right, and finds every fault that it is made to commit."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest

import byoc
from byoc.conformance.apart import conformance_apart
from byoc.conformance.outcome import CRASHED, FAILED, HANGING, REFUSED, Report

PLUGIN = Path(__file__).with_name("mutants.py")
BIAS = "matmul_bias/alternative 0, vectors along the channels, odd sizes"
RELU = "nn.relu/odd size"
EVERY_CASE = (
    BIAS, RELU, "nn.relu/dynamic", "nn.relu/special values", "nn.relu/empty", "nn.relu/large, threads",
    "nn.conv2d/all at once", "nn.conv2d/dynamic batch", "add/both are broadcast", "add/dynamic", "add/channels",
    "max/last axis", "max/first axis, kept", "max/dynamic", "max/NaN and infinities",
    "max/NaN and infinities, first axis",
)  # fmt: skip


@lru_cache(maxsize=1)
def _loaded() -> None:
    byoc.load_plugin(PLUGIN)


def examined(fault: str, *cases: str, timeout: float = 30.0) -> Report:
    _loaded()
    return conformance_apart("mutant", cases, options={"fault": fault}, timeout=timeout)


def test_the_right_codegen_conforms() -> None:
    report = examined("none", *EVERY_CASE, "nn.relu/float16")
    assert [(o.case, o.reason) for o in report.outcomes if o.status != "passed"] == [
        ("nn.relu/float16", "takes float32 only")
    ]
    assert report.conforms


@pytest.mark.parametrize(
    ("fault", "case", "status", "probe", "reason"),
    [
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
        ("reuses a stale size", "nn.relu/dynamic", FAILED, "", "elements are wrong"),
    ],
)
def test_a_fault_is_found(fault: str, case: str, status: str, probe: str, reason: str) -> None:
    outcome = examined(fault, case).outcomes[0]
    assert (outcome.status, outcome.case) == (status, case), outcome
    assert probe in outcome.probe and reason in outcome.reason, outcome


def test_a_hang_is_found_and_ended() -> None:
    outcome = examined("hangs", RELU, timeout=4.0).outcomes[0]
    assert (outcome.status, outcome.probe) == (HANGING, "run"), outcome
    assert outcome.reason == "did not end within 4 s"


def test_a_codegen_whose_every_case_is_refused_does_not_conform() -> None:
    report = examined("refuses in emit", RELU)
    assert not report.conforms
