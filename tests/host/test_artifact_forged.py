"""Well-formed archives whose manifest lies are refused before native code is loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from byoc.artifact import FORMAT_VERSION, CodegenRecord, MemberRecord, read_manifest
from byoc.artifact.archive import Member, Seal, layout
from tests.artifact_files import contents_of, forged, records, refused, sha256, with_tokenizer

pytestmark = pytest.mark.usefixtures("no_native_code")


def test_a_member_that_is_there_twice_is_refused_by_name(saved: Path, tmp_path: Path) -> None:
    members = contents_of(saved)
    path = forged(tmp_path / "m.byoc", [*members, members[1]], read_manifest(saved))
    assert 'member "library.so" is there 2 times' in refused(path)


def test_an_unknown_member_is_refused_by_name(saved: Path, tmp_path: Path) -> None:
    path = forged(tmp_path / "m.byoc", [*contents_of(saved), ("evil.so", b"x")], read_manifest(saved))
    assert 'member "evil.so" is not in the manifest' in refused(path)


def test_a_missing_member_is_refused_by_name(saved: Path, tmp_path: Path) -> None:
    path = forged(tmp_path / "m.byoc", contents_of(saved)[:-1], read_manifest(saved))
    assert 'member "weights.bin" is missing' in refused(path)


def test_members_in_another_order_are_refused(saved: Path, tmp_path: Path) -> None:
    path = forged(tmp_path / "m.byoc", contents_of(saved)[::-1], read_manifest(saved))
    refused(path)


def test_a_member_of_another_size_than_the_manifest_says_is_refused_by_name(saved: Path, tmp_path: Path) -> None:
    members = [(name, data + b"\n" if name == "plan.json" else data) for name, data in contents_of(saved)]
    path = forged(tmp_path / "m.byoc", members, read_manifest(saved))
    assert 'member "plan.json" has 21 bytes, the manifest says 20' in refused(path)


def test_sizes_in_the_manifest_that_reach_beyond_the_file_are_refused(saved: Path, tmp_path: Path) -> None:
    manifest = read_manifest(saved)
    lying = tuple(replace(member, size=1 << 62) for member in manifest.members)
    refused(forged(tmp_path / "m.byoc", contents_of(saved), replace(manifest, members=lying)))


def test_members_that_overlap_in_the_zips_tables_are_refused(saved: Path, tmp_path: Path) -> None:
    data = bytearray(saved.read_bytes())
    form = layout([Member(r.path, r.size, 0) for r in records(saved)], Seal("0" * 64))
    # The directory's entry of the weights now points at the header of the library.
    weights = data.rindex(form.header_offsets[3].to_bytes(8, "little"), form.tail_offset)
    data[weights : weights + 8] = form.header_offsets[2].to_bytes(8, "little")
    path = tmp_path / "m.byoc"
    path.write_bytes(data)
    refused(path)


@pytest.mark.parametrize("name", ["../escape.so", "/etc/passwd", "library.so\0", "LIBRARY.SO", ""])
def test_a_manifest_that_names_other_paths_is_refused(saved: Path, tmp_path: Path, name: str) -> None:
    manifest = read_manifest(saved)
    members = (*manifest.members[:1], MemberRecord(name, 1, sha256(b"x")), *manifest.members[2:])
    path = forged(tmp_path / "m.byoc", contents_of(saved), replace(manifest, members=members))
    assert "exactly plan.json, library.so, weights.bin, and tokenizer.json in a language model" in refused(path)


def test_a_tokenizer_in_another_artifact_is_refused(tmp_path: Path) -> None:
    path = with_tokenizer(tmp_path / "m.byoc")
    manifest = replace(read_manifest(path), language_model=None)
    assert "and tokenizer.json in a language model" in refused(forged(path, contents_of(path), manifest))


def test_a_changed_manifest_needs_its_digest_changed_too(saved: Path, tmp_path: Path) -> None:
    data = saved.read_bytes().replace(b'"baseline"', b'"whatever"')
    path = tmp_path / "m.byoc"
    path.write_bytes(data)
    message = refused(path)
    assert '"manifest.json"' in message and "damaged" in message


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tvm_version": "0.26.0"}, "compiled with apache-tvm 0.26.0"),
        ({"tvm_ffi_version": "0.1.15"}, "compiled with apache-tvm-ffi 0.1.15"),
        ({"architecture": "riscv128"}, "for riscv128 processors"),
        ({"cpu": "futurechip", "cpu_features": ("quantum9000",)}, "this one lacks quantum9000"),
        ({"codegens": (CodegenRecord("npu", "1", ("file:/no/npu0",)),)}, "npu needs /no/npu0, which is not there"),
        ({"codegens": (CodegenRecord("npu", "1", ("cpu:quantum9000",)),)}, "npu needs a processor with quantum9000"),
        ({"format_version": FORMAT_VERSION + 1}, f"format version {FORMAT_VERSION + 1}"),
        ({"format_version": 1}, "format version 1"),
    ],
)
def test_what_cannot_run_here_is_refused_with_the_reason(
    saved: Path, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    path = forged(tmp_path / "m.byoc", contents_of(saved), replace(read_manifest(saved), **change))
    assert reason in refused(path)
