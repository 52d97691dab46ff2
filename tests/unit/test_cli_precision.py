"""``--precision``."""

from __future__ import annotations

import pytest

from byoc.cli import main
from byoc.cli.precision import with_precision
from byoc.errors import OptionError


def test_it_sets_the_option_of_the_targets_that_have_one() -> None:
    assert with_precision({"csource": {"isa": "avx2"}}, ("dnnl", "csource", "host"), "bf16") == {
        "csource": {"isa": "avx2"},
        "dnnl": {"precision": "bf16"},
    }
    assert with_precision({"dnnl": {"precision": "bf16"}}, ("dnnl",), "bf16") == {"dnnl": {"precision": "bf16"}}


def test_without_it_options_stay_as_they_are() -> None:
    assert with_precision({"dnnl": {"winograd": "off"}}, ("dnnl",), None) == {"dnnl": {"winograd": "off"}}


def test_targets_without_a_precision_are_named() -> None:
    with pytest.raises(OptionError) as caught:
        with_precision({}, ("csource", "null"), "bf16")
    assert caught.value.what == "--precision bf16 applies to none of the targets (csource, null)"


def test_two_precisions_contradict_each_other() -> None:
    with pytest.raises(OptionError) as caught:
        with_precision({"dnnl": {"precision": "f32"}}, ("dnnl",), "bf16")
    assert caught.value.what == "--precision bf16 and --option dnnl.precision=f32 contradict each other"


def test_a_replayed_plan_has_its_own(capsys: pytest.CaptureFixture[str], tmp_path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"")
    (tmp_path / "p.json").write_text("{}")
    assert main(["explain", str(tmp_path / "m.onnx"), "--plan", str(tmp_path / "p.json"), "--precision", "bf16"]) == 2
    assert "--plan and --precision exclude each other" in capsys.readouterr().err
