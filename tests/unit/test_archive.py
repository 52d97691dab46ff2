"""The zip form, for sizes that no test can write."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from byoc.artifact.archive import END_SIZE, Member, Seal, layout, manifest_size_in, seal_in

DIGEST = "ab" * 32


def test_an_archive_of_many_gigabytes_is_one_that_zip_tools_list(tmp_path: Path) -> None:
    members = [Member("manifest.json", 10, 1), Member("library.so", 5 << 30, 2), Member("weights.bin", 7 << 30, 3)]
    form = layout(members, Seal(DIGEST))
    path = tmp_path / "sparse.byoc"
    with open(path, "wb") as file:
        for position, header in zip(form.header_offsets, form.headers, strict=True):
            file.seek(position)
            file.write(header)
        file.seek(form.tail_offset)
        file.write(form.tail)
    assert path.stat().st_size == form.total_size > 12 << 30
    with zipfile.ZipFile(path) as archive:
        listed = [(info.filename, info.file_size, info.header_offset) for info in archive.infolist()]
    assert listed == [(m.path, m.size, at) for m, at in zip(members, form.header_offsets, strict=True)]


@pytest.mark.parametrize("seal", [Seal(DIGEST), Seal(DIGEST, "ab" * 64)])
def test_the_ends_of_an_archive_tell_of_its_manifest(seal: Seal) -> None:
    form = layout([Member("manifest.json", 10, 1)], seal)
    assert seal_in(form.tail) == seal_in(form.tail[-END_SIZE:]) == seal
    assert manifest_size_in(form.headers[0]) == 10
    assert form.offsets[0] == 4096
    assert seal_in(form.tail[:-1]) is None
    assert manifest_size_in(form.headers[0][:-1]) is None
