"""The artifact's file: what is written, and everything that is refused before native code is loaded."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import byoc
from byoc.artifact import Artifact, CodegenRecord, Manifest, MemberRecord, open_artifact, read_manifest
from byoc.artifact.archive import Member, Seal, layout
from byoc.errors import ArtifactError
from tests.handmade import OFFSET, offset_model

MEMBERS = ["manifest.json", "plan.json", "library.so", "weights.bin"]


@pytest.fixture(autouse=True)
def _no_native_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(content: bytes) -> None:
        pytest.fail("native code was loaded")

    monkeypatch.setattr("byoc.runtime.session.load_library", refuse)


def refused(path: Path) -> str:
    """The message with which loading a file is refused."""
    with pytest.raises(ArtifactError) as caught:
        byoc.load(path)
    assert caught.value.what and caught.value.todo
    return str(caught.value)


def forged(path: Path, members: list[tuple[str, bytes]], manifest: Manifest) -> Path:
    """A well-formed archive with any members behind a manifest, whatever that says."""
    text = manifest.to_json().encode()
    contents = [("manifest.json", text), *members]
    form = layout([Member(name, len(data), zlib.crc32(data)) for name, data in contents], Seal(sha256(text)))
    data = b"".join(header + content for header, (_, content) in zip(form.headers, contents, strict=True))
    path.write_bytes(data + form.tail)
    return path


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def contents_of(path: Path) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        return [(name, archive.read(name)) for name in archive.namelist() if name != "manifest.json"]


def test_any_zip_tool_lists_and_unpacks_it(saved: Path) -> None:
    with zipfile.ZipFile(saved) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == MEMBERS
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
        assert archive.read("plan.json") == b'{"plan": "handmade"}'
        assert archive.read("library.so")[:4] == b"\x7fELF"


def test_members_lie_on_pages_so_that_they_can_be_mapped(saved: Path) -> None:
    data = saved.read_bytes()
    assert data[4096:4097] == b"{"
    assert data.index(OFFSET.tobytes()) % 64 == 0
    form = layout([Member(r.path, r.size, 0) for r in _records(saved)], Seal("0" * 64))
    assert all(offset % 4096 == 0 for offset in form.offsets)
    assert form.total_size == len(data)


def _records(path: Path) -> list[MemberRecord]:
    manifest = read_manifest(path)
    return [MemberRecord("manifest.json", len(manifest.to_json().encode()), ""), *manifest.members]


def test_the_same_content_gives_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    offset_model().save(tmp_path / "again.byoc")
    assert (tmp_path / "again.byoc").read_bytes() == saved.read_bytes()


def test_the_manifest_tells_what_was_saved(saved: Path) -> None:
    manifest = read_manifest(saved)
    assert [member.path for member in manifest.members] == MEMBERS[1:]
    assert [record.name for record in manifest.weights] == ["factor", "offset"]
    assert len(manifest.build_id) == 32
    assert manifest.entry_functions == offset_model().manifest.entry_functions


def test_an_opened_artifact_gives_back_what_was_saved(saved: Path) -> None:
    opened, original = open_artifact(saved), offset_model()
    assert opened.plan_json == original.plan_json
    assert opened.library == original.library
    for array, wanted in zip(opened.arrays, original.arrays, strict=True):
        assert array.dtype == wanted.dtype and array.ctypes.data % 64 == 0
        np.testing.assert_array_equal(array, wanted)


def test_a_mapped_weight_cannot_be_written(saved: Path) -> None:
    with pytest.raises(ValueError, match="read-only"):
        open_artifact(saved).arrays[0][...] = 7


def test_an_opened_artifact_can_be_saved_again(saved: Path, tmp_path: Path) -> None:
    opened = open_artifact(saved)
    opened.save(tmp_path / "copy.byoc")
    assert (tmp_path / "copy.byoc").read_bytes() == saved.read_bytes()


def test_the_manifest_is_read_without_the_other_members(saved: Path, tmp_path: Path) -> None:
    data = bytearray(saved.read_bytes())
    data[data.index(b"\x7fELF")] ^= 1
    path = tmp_path / "damaged.byoc"
    path.write_bytes(data)
    assert read_manifest(path) == read_manifest(saved)
    assert 'library.so in "' in refused(path)


@pytest.mark.parametrize("member", MEMBERS)
def test_a_flipped_bit_in_a_member_is_refused_by_name(saved: Path, tmp_path: Path, member: str) -> None:
    data = bytearray(saved.read_bytes())
    form = layout([Member(r.path, r.size, 0) for r in _records(saved)], Seal("0" * 64))
    data[form.offsets[MEMBERS.index(member)] + 3] ^= 0x10
    path = tmp_path / "damaged.byoc"
    path.write_bytes(data)
    message = refused(path)
    assert member in message and "damaged" in message


def test_a_flipped_bit_anywhere_is_refused(saved: Path, tmp_path: Path) -> None:
    data = saved.read_bytes()
    form = layout([Member(r.path, r.size, 0) for r in _records(saved)], Seal("0" * 64))
    chance = random.Random(1)
    places = {chance.randrange(len(data)) for _ in range(150)}
    places.update(range(0, 80))
    places.update(range(form.tail_offset, len(data)))
    places.update(place for start in form.header_offsets for place in range(start, start + 80))
    path = tmp_path / "damaged.byoc"
    for place in sorted(places):
        damaged = bytearray(data)
        damaged[place] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(ArtifactError):
            open_artifact(path)


@pytest.mark.slow
def test_every_byte_flipped_in_turn_is_refused(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged.byoc"
    path.write_bytes(saved.read_bytes())
    chance = random.Random(3)
    unnoticed = []
    with open(path, "r+b", buffering=0) as file:
        for place in range(path.stat().st_size):
            byte = os.pread(file.fileno(), 1, place)
            os.pwrite(file.fileno(), bytes([byte[0] ^ 1 << chance.randrange(8)]), place)
            try:
                open_artifact(path)
                unnoticed.append(place)
            except ArtifactError:
                pass
            os.pwrite(file.fileno(), byte, place)
    assert unnoticed == []
    assert open_artifact(path).plan_json == open_artifact(saved).plan_json


def test_a_truncated_file_is_refused_at_every_length(saved: Path, tmp_path: Path) -> None:
    data = saved.read_bytes()
    chance = random.Random(2)
    lengths = {0, 1, 29, 30, 4095, 4096, 4097, len(data) - 1, *(chance.randrange(len(data)) for _ in range(60))}
    path = tmp_path / "short.byoc"
    for length in sorted(lengths):
        path.write_bytes(data[:length])
        message = refused(path)
        assert "short.byoc" in message


def _trailing(data: bytes) -> bytes:
    return data + b"\0"


def _prepended(data: bytes) -> bytes:
    return b"#!/bin/sh\n" + data


def _page_prepended(data: bytes) -> bytes:
    return bytes(4096) + data


def _a_page_within(data: bytes) -> bytes:
    middle = data.index(b"\x7fELF")
    return data[:middle] + bytes(4096) + data[middle:]


def _second_archive(data: bytes) -> bytes:
    return data + data


@pytest.mark.parametrize(
    "change", [_trailing, _prepended, _page_prepended, _a_page_within, _second_archive], ids=lambda f: f.__name__
)
def test_bytes_that_do_not_belong_are_refused(saved: Path, tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "more.byoc"
    path.write_bytes(change(saved.read_bytes()))
    refused(path)


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"PK\5\6" + bytes(18), b"\x7fELF" + bytes(9000), bytes(9000)])
def test_another_kind_of_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.byoc"
    path.write_bytes(content)
    message = refused(path)
    assert "is empty" in message or "is not a byoc artifact" in message


def test_a_plain_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plain.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", "{}" * 5000)
    assert "is not a byoc artifact" in refused(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "absent.byoc")
    assert "it is a folder" in refused(tmp_path)


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
    form = layout([Member(r.path, r.size, 0) for r in _records(saved)], Seal("0" * 64))
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


def with_tokenizer(path: Path) -> Path:
    original = offset_model()
    facts = replace(original.manifest, language_model={"context": 8})
    replace(original, manifest=facts, tokenizer=b'{"version": "1.0"}').save(path)
    return path


def test_a_language_models_tokenizer_is_a_verified_member(tmp_path: Path) -> None:
    path = with_tokenizer(tmp_path / "m.byoc")
    assert open_artifact(path).tokenizer == b'{"version": "1.0"}'
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [*MEMBERS, "tokenizer.json"]
    data = bytearray(path.read_bytes())
    data[data.index(b'{"version"')] ^= 1
    path.write_bytes(data)
    assert 'tokenizer.json in "' in refused(path)


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
        ({"format_version": 3}, "format version 3"),
        ({"format_version": 1}, "format version 1"),
    ],
)
def test_what_cannot_run_here_is_refused_with_the_reason(
    saved: Path, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    path = forged(tmp_path / "m.byoc", contents_of(saved), replace(read_manifest(saved), **change))
    assert reason in refused(path)


def test_an_artifact_with_python_functions_cannot_be_saved(tmp_path: Path) -> None:
    artifact = replace(offset_model(), python_functions={"add_offset": lambda x, y: None})
    with pytest.raises(ArtifactError, match="partitions of handmade are Python functions"):
        artifact.save(tmp_path / "m.byoc")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_leaves_the_old_file_and_nothing_else(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.byoc"
    shutil.copy(saved, path)

    def no_room(handle: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(ArtifactError, match="No space left"):
        offset_model().save(path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == saved.read_bytes()


def test_saving_into_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be written"):
        offset_model().save(tmp_path / "absent" / "m.byoc")


def test_saving_replaces_a_file_that_a_reader_still_maps(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.byoc"
    shutil.copy(saved, path)
    opened = open_artifact(path)
    replace(offset_model(), plan_json="{}").save(path)
    np.testing.assert_array_equal(opened.arrays[1], OFFSET)
    assert open_artifact(path).plan_json == "{}"


def test_an_artifact_without_weights_can_be_saved(tmp_path: Path) -> None:
    from byoc.artifact import WeightStore
    from tests.handmade import manifest

    path = tmp_path / "m.byoc"
    Artifact(manifest(), "{}", b"\x7fELF", WeightStore()).save(path)
    assert open_artifact(path).arrays == ()
