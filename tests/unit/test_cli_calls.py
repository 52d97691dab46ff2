"""The command line without a model: verbs, flags, errors, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from byoc.cli import app, exit_codes, main
from byoc.cli.guard import InternalError
from byoc.cli.planning import PlanRequest, check_requirement, parse_options, parse_shapes, parse_targets
from byoc.errors import ByocError, OptionError, ShapeError, UsageError
from tests.unit.sample_plan import sample_plan


@pytest.fixture
def plan_file(tmp_path: Path) -> Path:
    path = tmp_path / "plan.json"
    path.write_text(sample_plan().to_json(), encoding="utf-8")
    return path


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(arguments)
    return code, capsys.readouterr().err


def test_an_unknown_verb_is_answered_with_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert error_of(capsys, "cmpile", "m.onnx") == (
        2, '[BYOC-100] "cmpile" is not a verb of byoc\n  do:  did you mean "compile"?\n',
    )  # fmt: skip


def test_an_unknown_option_is_answered_with_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert error_of(capsys, "compile", "m.onnx", "--tarfet", "acc") == (
        2, '[BYOC-100] "byoc compile" has no option --tarfet\n  do:  did you mean "--target"?\n',
    )  # fmt: skip


def test_a_missing_argument_says_where_help_is(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = error_of(capsys, "run")
    assert code == 2 and text.endswith('  do:  "byoc run --help" shows how to call it\n')


def test_no_target_is_refused_because_nothing_is_offloaded_unasked(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = error_of(capsys, "explain", "m.onnx")
    assert code == 2
    assert text.splitlines()[0] == "[BYOC-100] no target is named"
    assert '"byoc targets" lists them' in text


def test_errors_are_json_too_when_json_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "m.onnx", "--json"]) == 2
    answer = json.loads(capsys.readouterr().out)
    assert answer["exit_code"] == 2 and answer["error"]["what"] == "no target is named"


def test_an_artifact_into_a_missing_folder_is_refused_before_compiling(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    gone = tmp_path / "gone" / "m.byoc"
    code, text = error_of(capsys, "compile", "m.onnx", "--target", "csource", "-o", str(gone))
    assert code == 2 and text.startswith(f"[BYOC-100] cannot write {gone}\n  why: the folder {gone.parent} does not")


def test_an_artifact_in_the_place_of_a_folder_is_refused_before_compiling(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, text = error_of(capsys, "compile", "m.onnx", "--target", "csource", "-o", str(tmp_path))
    assert code == 2 and text.endswith(f"why: it is a folder\n  do:  name a file: {tmp_path / 'model.byoc'}\n")


def test_running_a_model_instead_of_an_artifact_says_to_compile_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert error_of(capsys, "run", "m.onnx") == (
        2, '[BYOC-100] m.onnx is a model, not an artifact\n  do:  compile it first: "byoc compile m.onnx"\n',
    )  # fmt: skip


def test_a_saved_plan_is_explained_without_its_model(capsys: pytest.CaptureFixture[str], plan_file: Path) -> None:
    assert main(["explain", str(plan_file)]) == 0
    out = capsys.readouterr().out
    assert "takes exponent 2 only" in out and out.endswith('host 3 - "byoc explain" says why\n')
    assert main(["explain", str(plan_file), "/fc/Relu"]) == 0
    assert "owner   acc, partition 0" in capsys.readouterr().out


def test_a_saved_plan_is_explained_as_one_json_document(capsys: pytest.CaptureFixture[str], plan_file: Path) -> None:
    assert main(["explain", str(plan_file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["coverage"][0]["owner"] == "acc"
    assert main(["explain", str(plan_file), "/norm/Pow", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["verdicts"][0]["reason"] == "takes exponent 2 only"


def test_flags_that_contradict_a_saved_plan_are_refused(capsys: pytest.CaptureFixture[str], plan_file: Path) -> None:
    code, text = error_of(capsys, "explain", str(plan_file), "--target", "acc")
    assert code == 2 and "already has a plan" in text
    code, text = error_of(capsys, "explain", "m.onnx", "--plan", str(plan_file), "--pin", "a=host", "--min-ops", "3")
    assert code == 2 and "--plan and --pin, --min-ops exclude each other" in text


@pytest.mark.parametrize(("content", "told"), [(None, "does not exist"), (b"\xff\xfe\x00", "no text"), (b"[]", "plan")])
def test_what_is_no_plan_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes | None, told: str
) -> None:
    file = tmp_path / "p.json"
    if content is not None:
        file.write_bytes(content)
    code, text = error_of(capsys, "explain", str(file))
    assert code in (2, 5) and told in text and "Traceback" not in text


def test_an_unforeseen_exception_is_one_text_without_traceback(
    capsys: pytest.CaptureFixture[str], plan_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> str:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr("byoc.explain.explain_text", broken)
    code, text = error_of(capsys, "explain", str(plan_file))
    assert code == 70
    assert text.splitlines()[:2] == [
        '[BYOC-999] internal error in "byoc explain"',
        "  why: RuntimeError: first line; this is a fault of byoc, not of your input",
    ]
    assert "run it again with -v" in text and "Traceback" not in text
    code, text = error_of(capsys, "explain", str(plan_file), "-v")
    assert code == 70 and "Traceback (most recent call last)" in text


def test_ctrl_c_ends_with_130_and_one_word(
    capsys: pytest.CaptureFixture[str], plan_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("byoc.explain.explain_text", interrupted)
    code, text = error_of(capsys, "explain", str(plan_file))
    assert code == 130 and text.strip() == "interrupted"


def test_a_full_disk_is_no_internal_error(
    capsys: pytest.CaptureFixture[str], plan_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> str:
        raise OSError(28, "No space left on device", "m.byoc")

    monkeypatch.setattr("byoc.explain.explain_text", full)
    code, text = error_of(capsys, "explain", str(plan_file))
    assert code == 1 and text.startswith("[BYOC-000] m.byoc: No space left on device")


def test_too_little_memory_is_no_internal_error(
    capsys: pytest.CaptureFixture[str], plan_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def large(*_: object, **__: object) -> str:
        raise MemoryError("Unable to allocate 3.47 EiB")

    monkeypatch.setattr("byoc.explain.explain_text", large)
    code, text = error_of(capsys, "explain", str(plan_file))
    assert code == 1 and text.splitlines()[:2] == [
        "[BYOC-000] this machine has too little memory for it",
        "  why: Unable to allocate 3.47 EiB",
    ]


def test_every_error_class_has_a_documented_exit_code() -> None:
    def subclasses(cls: type[ByocError]) -> list[type[ByocError]]:
        return [cls, *(below for sub in cls.__subclasses__() for below in subclasses(sub))]

    assert InternalError in subclasses(ByocError)
    assert {cls.exit_code for cls in subclasses(ByocError)} <= set(exit_codes.MEANINGS)


def test_help_names_every_verb_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {verb} " in out for verb in app.VERBS)
    assert all(meaning in out for meaning in exit_codes.MEANINGS.values())


def test_help_imports_neither_tvm_nor_numpy() -> None:
    script = (
        "import sys; from byoc.cli import main; code = main(['--help']); "
        "heavy = {'tvm', 'numpy', 'onnx', 'rich'} & set(sys.modules); sys.exit(str(heavy) if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_stops_early_causes_no_complaint(plan_file: Path) -> None:
    command = f"{sys.executable} -m byoc explain {plan_file} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stdout.strip() in ("0", "141"), done.stdout
    assert done.stderr == ""


def test_shapes_take_sizes_symbols_and_question_marks() -> None:
    assert parse_shapes(("x=1,?,224", "y:0=batch, 3", "scalar=")) == {
        "x": [1, None, 224], "y:0": ["batch", 3], "scalar": [],
    }  # fmt: skip


@pytest.mark.parametrize("value", ["x", "=1", "x=1,-2", "x=1.5", "x=,"])
def test_a_malformed_shape_is_refused(value: str) -> None:
    with pytest.raises(ShapeError, match="--shape"):
        parse_shapes((value,))


def test_a_shape_given_twice_is_refused() -> None:
    with pytest.raises(ShapeError, match="twice"):
        parse_shapes(("x=1", "x=2"))


def test_options_are_grouped_by_target() -> None:
    assert parse_options(("a.k=1", "a.j=x=y", "b.k=")) == {"a": {"k": "1", "j": "x=y"}, "b": {"k": ""}}


@pytest.mark.parametrize("value", ["k=1", "a.k", ".k=1", "a.=1"])
def test_a_malformed_option_is_refused(value: str) -> None:
    with pytest.raises(OptionError, match=r"target\.key=value"):
        parse_options((value,))


def test_targets_may_be_given_together_or_apart_but_not_twice() -> None:
    assert parse_targets(("a,b", "c")) == ("a", "b", "c")
    with pytest.raises(UsageError, match="names a twice"):
        parse_targets(("a,b", "a"))


def test_target_host_asks_for_no_codegen() -> None:
    request = PlanRequest(("host",), (), "priority", 1, None, 0.0, {}, {}, None)
    assert request.keywords()["targets"] == []


def test_require_looks_at_the_flops_on_targets() -> None:
    check_requirement(sample_plan(), 81.0)
    check_requirement(sample_plan(), None)
    with pytest.raises(ByocError) as caught:
        check_requirement(sample_plan(), 81.5)
    assert caught.value.exit_code == 8
    assert caught.value.what == "only 81% of the FLOPs are on targets, --require asks for 81.5%"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["compile", "m.onnx", "-t", "csource", "--require", "nan"], "'nan' is no number"),
        (["compile", "m.onnx", "-t", "csource", "--min-saving", "nan"], "'nan' is no number"),
        (["compile", "m.onnx", "-t", "csource", "--emit-c", __file__], "it is no folder"),
        (["verify", "m.onnx", "-t", "csource", "--bundle", __file__], "it is no folder"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_read(
    capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    code, text = error_of(capsys, *arguments)
    assert code == 2 and told in text


def test_a_pipe_is_not_replaced_by_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    code, text = error_of(capsys, "compile", "m.onnx", "-t", "csource", "-o", str(pipe))
    assert code == 2 and "it is a device or a pipe, which a file would replace" in text
    assert pipe.is_fifo()
