"""Artifacts as files, sound ones and forgeries."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

import byoc
from byoc.artifact import Manifest, MemberRecord, read_manifest
from byoc.artifact.archive import Member, Seal, layout
from byoc.errors import ArtifactError
from tests.handmade import offset_model

MEMBERS = ["manifest.json", "plan.json", "library.so", "weights.bin"]


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


def records(path: Path) -> list[MemberRecord]:
    """The members of a file in order, the manifest first."""
    manifest = read_manifest(path)
    return [MemberRecord("manifest.json", len(manifest.to_json().encode()), ""), *manifest.members]


def with_tokenizer(path: Path) -> Path:
    original = offset_model()
    facts = replace(original.manifest, language_model={"context": 8})
    replace(original, manifest=facts, tokenizer=b'{"version": "1.0"}').save(path)
    return path
