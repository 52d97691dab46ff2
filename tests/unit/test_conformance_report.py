"""Conformance reports: as text, JUnit XML and HTML; comparison and tolerances."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from byoc.cli import main
from byoc.conformance.compare import disagreement
from byoc.conformance.html import report_html
from byoc.conformance.junit import junit_xml
from byoc.conformance.outcome import Outcome, Report
from byoc.conformance.text import report_text
from byoc.conformance.tolerance import Tolerance, single_op, whole_output

REPORT = Report(
    "acc",
    "1.0",
    (
        Outcome("matmul/odd sizes", "passed", patterns=("dense",), seconds=0.25),
        Outcome("matmul/float16", "refused", "plan", "takes float32 only"),
        Outcome("nn.relu/odd size", "failed", "run", "1 of 3 elements are wrong <&>"),
        Outcome("nn.relu/empty", "crashed", "run", "killed by SIGSEGV"),
        Outcome("relu_6/odd size", "refused", "plan", "takes float32 only"),
        Outcome("exp/odd size", "refused", "plan", "no pattern of acc has the op exp"),
        Outcome("exp/dynamic", "refused", "plan", "no pattern of acc has the op exp"),
        Outcome("abs/dynamic", "refused", "plan", "no pattern of acc has the op abs"),
    ),
    untried=("conv",),
    loses_nan=("max", "nn.relu"),
)


def test_the_text_counts_then_lists_what_is_wrong_and_what_is_refused() -> None:
    assert (
        report_text(REPORT)
        == """\
op or pattern  passed  failed  crashed  hanging  refused
-------------  ------  ------  -------  -------  -------
matmul              1                                  1
nn.relu                     1        1
relu_6                                                 1

case              status   in   why
----------------  -------  ---  -----------------------------
nn.relu/odd size  failed   run  1 of 3 elements are wrong <&>
nn.relu/empty     crashed  run  killed by SIGSEGV

refused  first case      reason
-------  --------------  ------------------
      2  matmul/float16  takes float32 only

no pattern has the ops: abs, exp

no case uses the patterns: conv

tried without NaN, which may get lost in: max, nn.relu

acc 1.0 does not conform: 1 passed, 1 failed, 1 crashed, 5 refused"""
    )


def test_junit_counts_failures_errors_and_skips() -> None:
    suite = ElementTree.fromstring(junit_xml(REPORT))
    assert suite.attrib == {
        "name": "byoc conformance of acc", "tests": "8", "failures": "1", "errors": "1", "skipped": "5",
    }  # fmt: skip
    first, *_ = suite
    assert first.attrib == {"classname": "acc.matmul", "name": "odd sizes", "time": "0.250"}
    told = {test.get("name"): [(c.tag, c.get("message")) for c in test] for test in suite if len(test)}
    assert told["empty"] == [("error", "run: killed by SIGSEGV")]
    assert told["float16"] == [("skipped", "plan: takes float32 only")]


def test_the_page_stands_alone_and_escapes_what_it_shows() -> None:
    page = report_html(REPORT)
    assert "1 of 3 elements are wrong &lt;&amp;&gt;" in page
    assert "http" not in page and "<script" not in page
    assert page.index("Not passed") < page.index("Refused") < page.index("All cases")


def test_a_report_conforms_only_if_something_passed_and_nothing_went_wrong() -> None:
    passed, refused = REPORT.outcomes[:2]
    assert Report("acc", "1", (passed, refused)).conforms
    assert not Report("acc", "1", (refused,)).conforms
    assert not REPORT.conforms
    assert REPORT.to_json()["counts"] == {"passed": 1, "failed": 1, "crashed": 1, "hanging": 0, "refused": 5}


@pytest.mark.parametrize(
    ("got", "want", "dtype", "told"),
    [
        ([1.0, 2.0], [1.0, 2.05], "float32", ""),
        ([1.0, 2.0], [1.0, 2.5], "float32", "1 of 2 elements are wrong, the first at [1]: 2, not 2.5"),
        ([np.nan, np.inf], [np.nan, np.inf], "float32", ""),
        ([1.0], [np.nan], "float32", "1 of 1 elements are wrong, the first at [0]: 1, not nan"),
        ([np.inf], [-np.inf], "float32", "1 of 1 elements are wrong, the first at [0]: inf, not -inf"),
        ([np.inf], [1e6], "float16", ""),  # what overflows in the type overflows in the oracle
        ([1.0], [1.0, 1.0], "float32", "has shape [1] where [2] is right"),
        ([], [], "float32", ""),
    ],
)
def test_elements_are_held_against_the_oracle(got: list, want: list, dtype: str, told: str) -> None:
    result = disagreement(np.array(got, dtype), np.array(want), dtype, Tolerance(0.1, 0.0))
    assert result == told


def test_the_bound_grows_with_the_length_of_sums_and_integers_are_exact() -> None:
    assert single_op("sum", "float32", 100).relative == 10 * single_op("sum", "float32", 1).relative
    assert single_op("sum", "int32", 100) == Tolerance(0.0, 0.0)
    assert single_op("exact", "int8", quantized=True) == Tolerance(0.0, 1.0, 0.02)
    assert single_op("rounded", "float16").relative > single_op("rounded", "float32").relative
    assert whole_output("float32") == 1e-4 and whole_output("int64") == 0.0


def test_wrong_calls_are_answered_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance"]) == 2
    assert "conformance examines one target" in capsys.readouterr().err
    assert main(["conformance", "--target", "csource", "--filter", "no such op"]) == 2
    assert 'no case has "no such op" in its name' in capsys.readouterr().err
    assert main(["conformance", "--target", "csource", "--case", "matmul/odd size"]) == 2
    assert 'did you mean "matmul/odd sizes"?' in capsys.readouterr().err


def test_cases_are_listed_without_being_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", "--target", "csource", "--filter", "nn.max_pool1d", "--list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"cases": ["nn.max_pool1d/padding"]}


def test_a_few_quantised_elements_may_be_one_step_off_and_no_more() -> None:
    wanted = np.zeros(200, np.int8)
    few, many, far = wanted.copy(), wanted.copy(), wanted.copy()
    few[:4], many[:5], far[0] = 1, 1, 2
    tolerance = single_op("exact", "int8", quantized=True)
    found = [disagreement(got, wanted, "int8", tolerance) for got in (few, many, far)]
    assert found == [
        "",
        "5 of 200 elements are wrong, the first at [0]: 1, not 0",
        "1 of 200 elements are wrong, the first at [0]: 2, not 0",
    ]
