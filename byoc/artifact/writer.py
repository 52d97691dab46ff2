"""Writing an artifact: whole or not at all, and the same bytes for the same content."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from byoc.artifact.archive import MANIFEST, Member, Seal, layout
from byoc.artifact.manifest import Manifest, MemberRecord
from byoc.artifact.signature import sign
from byoc.artifact.weights import WeightStore
from byoc.errors import ArtifactError

PLAN = "plan.json"
LIBRARY = "library.so"
WEIGHTS = "weights.bin"
MEMBERS = (PLAN, LIBRARY, WEIGHTS)  # in the order in which they follow the manifest
TOKENIZER = "tokenizer.json"  # the last one, of a language model that has it

Chunks = Sequence[bytes | memoryview]


@dataclass(frozen=True)
class _Content:
    record: MemberRecord
    crc32: int
    chunks: Chunks


def write_artifact(
    path: str | os.PathLike[str],
    manifest: Manifest,
    plan_json: str,
    library: bytes,
    weights: WeightStore,
    tokenizer: bytes = b"",
    sign_key: str | os.PathLike[str] | None = None,
) -> Manifest:
    """Write the file, signed if there is a key, and return the manifest as written; an empty `tokenizer` is no member.

    Raises :class:`ArtifactError` if the file cannot be written; what was at ``path`` before is then unharmed.
    """
    contents = [
        _content(PLAN, [plan_json.encode("utf-8")]),
        _content(LIBRARY, [library]),
        _content(WEIGHTS, list(weights.chunks())),
    ]
    if tokenizer:
        contents.append(_content(TOKENIZER, [tokenizer]))
    manifest = replace(manifest, weights=weights.records(), members=tuple(content.record for content in contents))
    manifest = replace(manifest, build_id=manifest.build_id or _build_id(manifest))
    text = manifest.to_json()
    Manifest.from_json(text)  # whatever is written can be read back
    contents.insert(0, _content(MANIFEST, [text.encode("utf-8")]))
    seal = Seal(contents[0].record.sha256)
    write_atomically(Path(path), _pieces(contents, seal if sign_key is None else sign(seal, sign_key)))
    return manifest


def _content(path: str, chunks: Chunks) -> _Content:
    digest, checksum, size = hashlib.sha256(), 0, 0
    for chunk in chunks:
        digest.update(chunk)
        checksum = zlib.crc32(chunk, checksum)
        size += len(chunk)
    return _Content(MemberRecord(path, size, digest.hexdigest()), checksum, chunks)


def _build_id(manifest: Manifest) -> str:
    """Names the content: two artifacts with the same id do the same."""
    return hashlib.sha256(manifest.to_json().encode("utf-8")).hexdigest()[:32]


def _pieces(contents: Sequence[_Content], seal: Seal) -> Iterable[bytes | memoryview]:
    members = [Member(content.record.path, content.record.size, content.crc32) for content in contents]
    form = layout(members, seal)
    for header, content in zip(form.headers, contents, strict=True):
        yield header
        yield from content.chunks
    yield form.tail


def write_atomically(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Put ``pieces`` into a file that appears when it is complete; raises :class:`ArtifactError` if it cannot."""
    if path.exists() and not path.is_file():
        raise ArtifactError(f'"{path}" cannot be written', "it is no plain file", "name a file")
    temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}.part"
    try:
        with open(temporary, "xb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise ArtifactError(
            f'"{path}" cannot be written',
            error.strerror or str(error),
            "name a folder that exists, is writable and has room",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
