"""Files that are no artifact, or no longer whole, are refused before native code is loaded."""

from __future__ import annotations

import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from byoc.artifact import open_artifact
from byoc.artifact.archive import Member, Seal, layout
from byoc.errors import ArtifactError
from tests.artifact_files import MEMBERS, records, refused

pytestmark = pytest.mark.usefixtures("no_native_code")


@pytest.mark.parametrize("member", MEMBERS)
def test_a_flipped_bit_in_a_member_is_refused_by_name(saved: Path, tmp_path: Path, member: str) -> None:
    data = bytearray(saved.read_bytes())
    form = layout([Member(r.path, r.size, 0) for r in records(saved)], Seal("0" * 64))
    data[form.offsets[MEMBERS.index(member)] + 3] ^= 0x10
    path = tmp_path / "damaged.byoc"
    path.write_bytes(data)
    message = refused(path)
    assert member in message and "damaged" in message


def test_a_flipped_bit_anywhere_is_refused(saved: Path, tmp_path: Path) -> None:
    data = saved.read_bytes()
    form = layout([Member(r.path, r.size, 0) for r in records(saved)], Seal("0" * 64))
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
