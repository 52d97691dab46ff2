"""Plugins that break their contract: the error names the guilty part, and nothing is left behind."""

from __future__ import annotations

import textwrap
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from byoc.cli import main

HEADER = "from byoc import Codegen, CSource, PyFunc, op, register_codegen, reject\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """y = tanh(relu(x)), x float32[4]."""
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="/Relu"),
        helper.make_node("Tanh", ["a"], ["y"], name="/Tanh"),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy")
    graph = helper.make_graph(nodes, "small", [x], [y])
    path = tmp_path_factory.mktemp("model") / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def compile_with(folder: Path, model: Path, name: str, body: str, *flags: str) -> int:
    """Compile for the codegen `name`, whose class body is `body`; takes every ``nn.relu``."""
    plugin = folder / f"{name}.py"
    head = f'@register_codegen("{name}")\nclass Acc(Codegen):\n    patterns = {{"relu": op("nn.relu")("x")}}\n'
    plugin.write_text(HEADER + head + textwrap.indent(textwrap.dedent(body), "    "), encoding="utf-8")
    output = folder / "out" / "m.byoc"
    output.parent.mkdir()
    common = ["--plugin", str(plugin), "--target", name, "--no-cache", "-o", str(output)]
    code = main(["compile", str(model), *common, *flags])
    assert code == 0 or list(output.parent.iterdir()) == []
    return code


def told(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err
    assert "Traceback" not in error and "internal error" not in error
    return error


def test_a_check_that_raises_is_named_with_file_and_line(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    body = """
    def check(self, m):
        return m["x"].no_such_attribute
    def emit_match(self, m):
        return ""
    """
    assert compile_with(tmp_path, model, "raising", body) == 4
    error = told(capsys)
    assert error.startswith("[BYOC-302] ") and '"raising"' in error and "no_such_attribute" in error
    assert "raising.py:7 in check" in error


@pytest.mark.parametrize("method", ["check", "emit_match"])
def test_a_plugin_that_exits_is_no_success(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path, method: str
) -> None:
    assert compile_with(tmp_path, model, f"leaving_{method}", f"def {method}(self, m):\n    raise SystemExit(0)\n") == 4
    assert "raised SystemExit: 0" in told(capsys)


def test_a_check_that_returns_nonsense_is_named(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    body = """
    def check(self, m):
        return "perhaps"
    def emit_match(self, m):
        return ""
    """
    assert compile_with(tmp_path, model, "vague", body) == 4
    error = told(capsys)
    assert error.startswith("[BYOC-302] ") and '"vague"' in error


@pytest.mark.parametrize(("name", "returned"), [("number", "42"), ("nothing", "None"), ("raw", "b'x'")])
def test_an_emit_match_that_returns_no_text_is_named(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path, name: str, returned: str
) -> None:
    assert compile_with(tmp_path, model, name, f"def emit_match(self, m):\n    return {returned}\n") == 4
    assert told(capsys).startswith(f'[BYOC-303] codegen "{name}": emit_match returned ')


def test_an_emit_that_returns_nonsense_is_named(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    assert compile_with(tmp_path, model, "odd", "def emit(self, partition):\n    return {'code': 1}\n") == 4
    error = told(capsys)
    assert error.startswith("[BYOC-303] ") and '"odd"' in error


def test_a_promised_symbol_that_the_code_lacks_is_named(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    body = "def emit(self, partition):\n    return CSource('int unrelated;', (partition.symbol,))\n"
    assert compile_with(tmp_path, model, "empty", body, "--on-fail", "abort") == 4
    error = told(capsys)
    assert error.startswith("[BYOC-304] ") and "empty_main_0" in error and '"empty"' in error


def test_c_code_that_does_not_compile_is_named_with_the_compilers_words(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    body = "def emit_match(self, m):\n    return 'no_such_function_anywhere(;'\n"
    assert compile_with(tmp_path, model, "garbled", body, "--on-fail", "abort") in (4, 6)
    error = told(capsys)
    assert "garbled" in error and "error:" in error


def test_a_refusal_in_emit_goes_to_the_host_with_its_reason(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    body = "def emit_match(self, m):\n    return reject('out of on-chip memory', at=m['x'])\n"
    assert compile_with(tmp_path, model, "small_memory", body) == 0
    assert "small_memory 0/2 ops" in capsys.readouterr().out
    assert main(["explain", str(tmp_path / "out" / "m.byoc"), "/Relu"]) == 0
    explained = capsys.readouterr().out
    assert "refused at stage compile" in explained and "out of on-chip memory" in explained


def test_a_refusal_in_emit_stops_the_compile_when_asked_to(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    body = "def emit_match(self, m):\n    return reject('out of on-chip memory', at=m['x'])\n"
    assert compile_with(tmp_path, model, "tiny_memory", body, "--on-fail", "abort") == 4
    assert "out of on-chip memory" in told(capsys)


def test_a_python_prototype_cannot_be_saved(capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path) -> None:
    body = """
    def emit(self, partition):
        def run(x, out):
            out[:] = x * (x > 0)
        return PyFunc(run)
    """
    assert compile_with(tmp_path, model, "prototype", body) == 7
    assert told(capsys).startswith("[BYOC-600] the artifact cannot be saved: partitions of prototype are Python")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\ndef broken(:\n", "raised at plugin.py:2"),
        ("import sys\nsys.exit(0)\n", "SystemExit: 0\n  why: raised at plugin.py:2"),
        ("import no_such_module_anywhere\n", "no_such_module_anywhere"),
        ("x = 1\n", "registers no codegen"),
        (HEADER + "@register_codegen('host')\nclass A(Codegen):\n    pass\n", 'cannot be called "host"'),
        (HEADER + "@register_codegen('p')\nclass A(Codegen):\n    patterns = {'a': 3}\n", "a pattern is malformed"),
    ],
)
def test_a_plugin_file_that_cannot_be_loaded_is_named(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path, text: str, words: str
) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text(text, encoding="utf-8")
    assert main(["compile", str(model), "--plugin", str(plugin), "--target", "p"]) == 4
    error = told(capsys)
    assert error.startswith("[BYOC-301] ") and words in error
