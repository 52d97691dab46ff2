"""The artifact's file: what is written, and what is read back."""

from __future__ import annotations

import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from byoc.artifact import Artifact, open_artifact, read_manifest
from byoc.artifact.archive import Member, Seal, layout
from byoc.errors import ArtifactError
from tests.artifact_files import MEMBERS, records, refused, with_tokenizer
from tests.handmade import OFFSET, offset_model

pytestmark = pytest.mark.usefixtures("no_native_code")


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
    form = layout([Member(r.path, r.size, 0) for r in records(saved)], Seal("0" * 64))
    assert all(offset % 4096 == 0 for offset in form.offsets)
    assert form.total_size == len(data)


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


def test_a_language_models_tokenizer_is_a_verified_member(tmp_path: Path) -> None:
    path = with_tokenizer(tmp_path / "m.byoc")
    assert open_artifact(path).tokenizer == b'{"version": "1.0"}'
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [*MEMBERS, "tokenizer.json"]
    data = bytearray(path.read_bytes())
    data[data.index(b'{"version"')] ^= 1
    path.write_bytes(data)
    assert 'tokenizer.json in "' in refused(path)


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
