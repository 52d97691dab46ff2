"""The worked example of a vendor that claims attention and 4-bit layers, and lays out the cache itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import byoc
from byoc.errors import ArtifactError
from byoc.llm import LanguageSession, Settings, WeightSpec, language_model, parse_kv
from tests.language_models import make_folder
from tests.vendor_package import byoc_command, install_example

TOKENS = [1, 5, 9, 30, 2, 7, 7, 11, 39, 0]


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the vendor's package."""
    return install_example("kvnpu", tmp_path_factory.mktemp("vendor"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny"
    make_folder(path, intermediate_size=64)
    return path


@pytest.fixture(scope="module")
def artifact(vendor: Path, folder: Path) -> Path:
    path = folder.parent / "m.byoc"
    flags = ["--target", "kvnpu", "--kv", "k8v8:g0", "--weights", "rtn4:g32", "--chunk", "4", "-o", path]
    done = byoc_command("compile", folder, *flags, packages=vendor)
    assert done.returncode == 0, done.stderr
    return path


def on_the_host(folder: Path) -> LanguageSession:
    settings = Settings(kv=parse_kv("k8v8:g0", 2), weights=WeightSpec.parse("rtn4:g32"), chunk=4)
    return LanguageSession(byoc.compile(language_model(folder, settings), [], use_cache=False).session())


def test_it_claims_two_ops_and_says_why_it_refuses_others(vendor: Path, folder: Path, tmp_path: Path) -> None:
    def verdicts(*flags: str) -> str:
        done = byoc_command("explain", folder, "--target", "kvnpu", *flags, "--json", packages=vendor)
        assert done.returncode == 0, done.stderr
        return done.stdout

    flags = ["--target", "kvnpu", "--kv", "k8v8:g0", "--weights", "rtn4:g32"]
    byoc_command("compile", folder, *flags, "--dry-run", "--save-plan", tmp_path / "plan.json", packages=vendor)
    plan = json.loads((tmp_path / "plan.json").read_text())
    owners = {(op["op"], op["owner"]) for function in plan["functions"] for op in function["ops"]}
    mine = {op for op, owner in owners if owner == "kvnpu"}
    assert mine == {"byoc.kv_append", "byoc.kv_attention", "byoc.linear_w4"}
    assert not mine & {op for op, owner in owners if owner == "host"}
    assert "keeps keys as 8 bits per-token g8, not as 4 bits per-token g0" in verdicts("--kv", "k4v4:g0")
    refused = verdicts("--kv", "k8v8:g4", "--weights", "rtn8:g32")
    assert "keeps keys as 8 bits per-token g8, not as 8 bits per-token g4" in refused
    assert "multiplies weights of 4 bits, not of 8" in refused
    assert "has a scale for 32 weights, not for 16" in verdicts("--weights", "rtn4:g16")


def test_the_artifact_runs_without_the_package_and_writes_what_the_host_writes(artifact: Path, folder: Path) -> None:
    done = byoc_command("generate", artifact, "--ids", ",".join(map(str, TOKENS)), "--max-tokens", 12, "--json")
    assert done.returncode == 0, done.stderr
    reference = on_the_host(folder)
    wanted = [int(t[0]) for t in reference.generate(TOKENS, max_tokens=12)]
    assert json.loads(done.stdout)["sequences"][0]["ids"] == wanted


def test_its_logits_are_those_of_the_host_through_fork_and_truncate(artifact: Path, folder: Path) -> None:
    ours, reference = byoc.llm.load(artifact), on_the_host(folder)
    for session in (ours, reference):
        session.prefill(TOKENS)
    np.testing.assert_allclose(ours.decode([4]), reference.decode([4]), rtol=2e-3, atol=2e-3)
    twin = ours.fork()
    ours.truncate(6)
    reference.truncate(6)
    np.testing.assert_allclose(ours.decode([8]), reference.decode([8]), rtol=2e-3, atol=2e-3)
    assert twin.lengths.tolist() == [11] and ours.lengths.tolist() == [7]


def test_the_layout_is_its_own(artifact: Path, folder: Path) -> None:
    ours, reference = byoc.llm.load(artifact), on_the_host(folder)
    for session in (ours, reference):
        session.prefill(TOKENS[:1])
    keys, planes = (s.cache.state.arrays["keys.0"] for s in (ours, reference))
    assert keys.shape == planes.shape
    record = keys.reshape(-1)[: 2 * 12].reshape(2, 12)  # two heads: eight integers, scale and minimum
    assert np.abs(record[:, :8].astype(int) - planes[0, :, :8]).max() <= 1
    assert record[:, 8:].any() and not keys.reshape(-1)[24:].any()


def test_a_state_of_another_codegen_with_another_layout_is_refused(
    artifact: Path, folder: Path, tmp_path: Path
) -> None:
    reference = on_the_host(folder)
    reference.prefill(TOKENS)
    reference.save(tmp_path / "state.npz")
    with pytest.raises(ArtifactError, match="holds the state of another model, or of other codegens"):
        byoc.llm.load(artifact).restore(tmp_path / "state.npz")
