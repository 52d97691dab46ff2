"""``byoc new-codegen``: a package that pip builds and that conforms before anything is changed in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from byoc.cli import main


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new package, made where the user would, called otherwise than the template."""
    folder = tmp_path_factory.mktemp("new") / "tensor_unit"
    assert main(["new-codegen", "tensor_unit", "-o", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def environment(package: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables of a process that finds the package where pip has installed it."""
    site = tmp_path_factory.mktemp("site")
    flags = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", *flags, "--target", site, package], check=True)
    return {**os.environ, "PYTHONPATH": str(site)}


def test_nothing_of_the_template_is_left_in_the_names(package: Path) -> None:
    files = [file for file in package.rglob("*") if file.is_file()]
    assert (package / "tensor_unit" / "codegen.py") in files
    assert (package / "runtime" / "tensor_unit_runtime.cc") in files
    assert [f.name for f in files if "myaccel" in f.name or "myaccel" in f.read_text().lower()] == []
    assert "class TensorUnit(Codegen)" in (package / "tensor_unit" / "codegen.py").read_text()


def test_it_conforms_and_says_what_it_refuses(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "byoc", "conformance", "--target", "tensor_unit", "--json"]
    ran = subprocess.run([*command, "--filter", "matmul"], capture_output=True, text=True, env=environment, check=False)
    told = json.loads(ran.stdout)
    assert (ran.returncode, told["conforms"]) == (0, True), ran.stdout[-3000:]
    assert told["counts"]["passed"] >= 5
    reasons = {o["case"]: o["reason"] for o in told["outcomes"] if o["status"] == "refused"}
    assert reasons["matmul/both variable"] == 'nearest pattern "dense": needs a constant where the input y is'
    assert reasons["matmul/one matrix for all batches"] == "multiplies matrices, no vectors and no batches"


def test_its_own_tests_pass(package: Path, environment: dict[str, str]) -> None:
    # Not "python -m pytest": that would find the sources in the working folder before what is installed.
    pytest_script = str(Path(sys.executable).parent / "pytest")
    command = [pytest_script, "-q", "-p", "no:cacheprovider", "tests/test_saved_model.py"]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=package, check=False)
    assert ran.returncode == 0, ran.stdout


def test_an_artifact_finds_the_runtime_in_the_package_that_is_installed_now(
    package: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    before, now = tmp_path / "before", tmp_path / "now"
    shutil.copytree(environment["PYTHONPATH"], before)
    compiles = (
        f"import sys; sys.path.append(r'{package / 'tests'}')\n"
        "import byoc; from test_saved_model import two_layers\n"
        f"byoc.compile(byoc.partition(two_layers()[0], ['tensor_unit']), use_cache=False).save(r'{tmp_path}/m.byoc')"
    )
    runs = (
        "import byoc, numpy, sys\n"
        f"print(byoc.load(r'{tmp_path}/m.byoc').run({{'x': numpy.ones((2, 8), 'float32')}})['y'].shape)\n"
        "assert 'tensor_unit' not in sys.modules"
    )

    def run(code: str, site: Path) -> subprocess.CompletedProcess[str]:
        variables = {**environment, "PYTHONPATH": str(site)}
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=variables, cwd=tmp_path, check=False
        )

    made = run(compiles, before)
    assert made.returncode == 0, made.stderr
    before.rename(now)
    ran = run(runs, now)
    assert (ran.returncode, ran.stdout) == (0, "(2, 4)\n"), ran.stderr


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("My-Accel", 'a codegen cannot be called "My-Accel"'),
        ("host", 'a codegen cannot be called "host"'),
        ("class", 'a codegen cannot be called "class"'),
        ("csource", 'there is a target "csource" already'),
    ],
)
def test_names_that_cannot_be_are_refused(
    name: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new-codegen", name, "-o", str(tmp_path / "x")]) == 2
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new-codegen", "unit", "-o", str(tmp_path)]) == 2
    assert "nothing that is there is overwritten" in capsys.readouterr().err
    assert main(["new-codegen", "unit", "-o", str(tmp_path / "a" / "b")]) == 2
    assert "does not exist" in capsys.readouterr().err
