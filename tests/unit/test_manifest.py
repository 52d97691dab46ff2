"""The manifest: JSON there and back, and what it refuses."""

from __future__ import annotations

import json
import platform
from dataclasses import replace
from typing import Any

import pytest

from byoc.artifact import (
    FORMAT_VERSION,
    CodegenRecord,
    EntryFunction,
    Manifest,
    MemberRecord,
    PartitionRecord,
    WeightRecord,
)
from byoc.artifact.compatibility import check_compatible, missing_features
from byoc.compat import TVM_FFI_VERSION, TVM_VERSION
from byoc.errors import ArtifactError
from byoc.tensor_spec import TensorSpec

FULL = Manifest(
    byoc_version="0.1.0",
    tvm_version=TVM_VERSION,
    tvm_ffi_version=TVM_FFI_VERSION,
    architecture=platform.machine(),
    cpu="baseline",
    codegens=(CodegenRecord("csource", "1.0", ("a C compiler",)),),
    entry_functions=(
        EntryFunction("main", (TensorSpec("x", "float32", ("n", 4)),), (TensorSpec("y", "bfloat16", ("2*n",)),), (0,)),
    ),
    partitions=(
        PartitionRecord("p0", "csource", "p0_bind", (0,)),
        PartitionRecord("p1", "csource"),
    ),
    weights=(WeightRecord("w", "float32", (2, 3), 0, 24),),
    members=(MemberRecord("plan.json", 3, "ab" * 32),),
    states=(TensorSpec("cache", "uint8", (1, 2, 64)),),
    build_id="abc",
)


def test_a_manifest_survives_json() -> None:
    assert Manifest.from_json(FULL.to_json()) == FULL


def test_equal_manifests_give_equal_text_and_nothing_but_ascii_order_decides() -> None:
    assert FULL.to_json() == replace(FULL).to_json()
    keys = list(json.loads(FULL.to_json()))
    assert keys == sorted(keys)


@pytest.mark.parametrize("field", sorted(json.loads(FULL.to_json())))
def test_a_missing_field_is_refused(field: str) -> None:
    value = json.loads(FULL.to_json())
    del value[field]
    with pytest.raises(ArtifactError, match="malformed"):
        Manifest.from_json(json.dumps(value))


@pytest.mark.parametrize(
    ("field", "nonsense"),
    [
        ("byoc_version", 1),
        ("cpu_features", "avx2"),
        ("cpu_features", [1]),
        ("weights", [{"name": "w", "dtype": "float32", "shape": [-1], "offset": 0, "nbytes": 4}]),
        ("weights", [{"name": "w", "dtype": "float32", "shape": [True], "offset": 0, "nbytes": 4}]),
        ("entry_functions", [{"name": "main", "inputs": [{"name": "x"}], "outputs": [], "weights": []}]),
        ("entry_functions", [{"name": "main", "inputs": [7], "outputs": [], "weights": []}]),
        ("entry_functions", {}),
        ("partitions", [{"symbol": "p", "target": "t", "bind": 3, "constants": []}]),
        ("partitions", [{"symbol": "p", "target": "t", "bind": None, "constants": [99]}]),
        ("entry_functions", [{"name": "main", "inputs": [], "outputs": [], "weights": [1]}]),
        ("entry_functions", [{"name": "f", "inputs": [], "outputs": [], "weights": []}] * 2),
        ("members", None),
    ],
)
def test_nonsense_in_a_field_is_refused(field: str, nonsense: Any) -> None:
    value = {**json.loads(FULL.to_json()), field: nonsense}
    with pytest.raises(ArtifactError, match="malformed"):
        Manifest.from_json(json.dumps(value))


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"format_version": true}', "[" * 100_000, b"\xff\xfe"])
def test_text_that_is_no_manifest_is_refused(text: str | bytes) -> None:
    with pytest.raises(ArtifactError, match="malformed"):
        Manifest.from_json(text)


@pytest.mark.parametrize(
    ("version", "cure"), [(FORMAT_VERSION + 1, "upgrade byoc"), (FORMAT_VERSION - 1, "compile the model again")]
)
def test_another_format_version_is_refused_before_anything_else_is_looked_at(version: int, cure: str) -> None:
    with pytest.raises(ArtifactError, match=f"format version {version}") as caught:
        Manifest.from_json(json.dumps({"format_version": version}))
    assert cure in caught.value.todo


def test_a_manifest_made_here_is_compatible() -> None:
    assert check_compatible(FULL) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tvm_version": "0.26.0"}, "apache-tvm 0.26.0"),
        ({"tvm_ffi_version": "0.1.15"}, "apache-tvm-ffi 0.1.15"),
        ({"architecture": "riscv128"}, "riscv128 processors"),
        ({"cpu": "futurechip", "cpu_features": ("quantum9000",)}, "futurechip processors; this one lacks quantum9000"),
        ({"format_version": 7}, "format version 7"),
    ],
)
def test_what_does_not_fit_is_said(change: dict[str, Any], reason: str) -> None:
    reasons = check_compatible(replace(FULL, **change))
    assert len(reasons) == 1
    assert reason in reasons[0]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names of x86 extensions")
def test_features_are_known_by_the_names_of_llvm_gcc_and_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    from byoc.artifact import compatibility

    flags = ["pni", "sse4_1", "avx512_vnni", "avx512f", "abm", "bmi2", "avx512_bf16"]
    present = {compatibility._spelling(flag) for flag in flags}
    monkeypatch.setattr(compatibility, "processor_features", lambda: frozenset(present))
    assert missing_features(("sse3", "sse4.1", "+avx512vnni", "avx512f", "lzcnt", "bmi2", "avx512bf16")) == ()
    assert missing_features(("avx2", "avx512f", "amx-tile")) == ("avx2", "amx-tile")


def test_where_the_processor_is_unknown_nothing_is_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    from byoc.artifact import compatibility

    monkeypatch.setattr(compatibility, "processor_features", lambda: None)
    assert check_compatible(FULL) == []
    assert "cannot be found out" in check_compatible(replace(FULL, cpu_features=("avx2",)))[0]
