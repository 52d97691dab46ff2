"""Reading an artifact: nothing of it is used before all of it is verified."""

from __future__ import annotations

import hashlib
import mmap
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from byoc.artifact.archive import END_SIZE, MANIFEST, PAGE, Member, Seal, layout, manifest_size_in, seal_in
from byoc.artifact.manifest import Manifest, MemberRecord
from byoc.artifact.signature import require_signature, sign
from byoc.artifact.weights import view_weights
from byoc.artifact.writer import LIBRARY, MEMBERS, PLAN, TOKENIZER, WEIGHTS, write_atomically
from byoc.errors import ArtifactError

if TYPE_CHECKING:
    from byoc.runtime.session import Session

_LARGEST_MANIFEST = 256 << 20  # bytes; a limit only so that a forged size cannot ask for all memory
_AGAIN = "copy the file again, or compile the model again"


@dataclass(frozen=True)
class OpenedArtifact:
    """A verified artifact, usable as an :class:`Artifact` is.

    ``arrays`` are read-only views of the mapped file, so the file must not be changed in place; to replace it, as
    ``save`` does, is safe.
    """

    path: Path
    manifest: Manifest
    plan_json: str
    library: bytes
    arrays: tuple[np.ndarray[Any, Any], ...]
    content: memoryview = field(repr=False)
    seal: Seal
    tokenizer: bytes = field(repr=False, default=b"")
    python_functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)

    def save(self, path: str | os.PathLike[str], *, sign_key: str | os.PathLike[str] | None = None) -> None:
        """Write the same file again, signed anew if there is a `sign_key`; raises as :meth:`Artifact.save` does."""
        pieces = [self.content]
        if sign_key is not None:
            end = len(self.content) - len(self.seal.comment) - 2  # before the comment's length, which is in 16 bits
            comment = sign(self.seal, sign_key).comment
            pieces = [self.content[:end], memoryview(len(comment).to_bytes(2, "little") + comment)]
        write_atomically(Path(path), pieces)

    def session(self, threads: int | None = None) -> Session:
        """A session on this artifact, as :func:`byoc.load` gives."""
        from byoc.runtime.session import Session

        return Session(self, threads=threads)


def read_manifest(path: str | os.PathLike[str], *, verify_key: str | os.PathLike[str] | None = None) -> Manifest:
    """The manifest, its own digest checked; no other member is read.

    Raises :class:`ArtifactError` if the file is missing, is no artifact, is damaged in what is read, or has another
    format version; :class:`SignatureError` if it is not signed with the key whose public half is `verify_key`.
    """
    with _opened(path) as file:
        return Manifest.from_json(_manifest_bytes(file, Path(path), verify_key)[0])


def is_signed(path: str | os.PathLike[str]) -> bool:
    """Whether a signature is there; by whom, only a key can tell.  Raises as :func:`read_manifest` does."""
    with _opened(path) as file:
        return bool(_manifest_bytes(file, Path(path), None)[1].signature)


def open_artifact(path: str | os.PathLike[str], *, verify_key: str | os.PathLike[str] | None = None) -> OpenedArtifact:
    """Open a file and verify every byte of it; no native code is loaded.

    Raises :class:`ArtifactError` that names the member at fault: damaged, missing, doubled, unknown or of another size
    than the manifest says; or bytes before, between or after the members; :class:`SignatureError` if it is not signed
    with the key whose public half is `verify_key`.
    """
    path = Path(path)
    with _opened(path) as file:
        text, seal = _manifest_bytes(file, path, verify_key)
        manifest = Manifest.from_json(text)
        _check_member_list(path, manifest)
        mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    records = (MemberRecord(MANIFEST, len(text), seal.manifest_sha256), *manifest.members)
    data = _verified_members(path, mapped, records, seal)
    try:
        plan_json = bytes(data[PLAN]).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ArtifactError(f'"{PLAN}" in "{path}" is not text', str(error), _AGAIN) from None
    arrays = view_weights(data[WEIGHTS], manifest.weights)
    tokenizer = bytes(data.get(TOKENIZER, b""))
    return OpenedArtifact(path, manifest, plan_json, bytes(data[LIBRARY]), arrays, mapped, seal, tokenizer)


def _opened(path: str | os.PathLike[str]) -> BinaryIO:
    try:
        return open(path, "rb")
    except OSError as error:
        why = "it is a folder" if isinstance(error, IsADirectoryError) else error.strerror or str(error)
        raise ArtifactError(f'the artifact "{os.fspath(path)}" cannot be opened', why, "check the path") from None


def _manifest_bytes(file: BinaryIO, path: Path, verify_key: str | os.PathLike[str] | None) -> tuple[bytes, Seal]:
    head = file.read(PAGE)
    if not head:
        raise ArtifactError(f'"{path}" is empty', "an artifact begins with its manifest", _AGAIN)
    size = manifest_size_in(head)
    if size is None:
        raise ArtifactError(
            f'"{path}" is not a byoc artifact',
            "it does not begin with a manifest: it is another kind of file, cut off, or has bytes before the archive",
            "name a file that byoc compile wrote",
        )
    file_size = file.seek(0, os.SEEK_END)
    file.seek(max(0, file_size - END_SIZE))
    seal = seal_in(file.read())
    if seal is None:
        raise ArtifactError(
            f'"{path}" does not end as an artifact does', "it is truncated, or has bytes after the archive", _AGAIN
        )
    if size > min(_LARGEST_MANIFEST, file_size - PAGE):
        raise ArtifactError(f'the manifest in "{path}" claims {size} bytes', f"the file has {file_size}", _AGAIN)
    file.seek(PAGE)
    text = file.read(size)
    if hashlib.sha256(text).hexdigest() != seal.manifest_sha256:
        raise ArtifactError(f'"{MANIFEST}" in "{path}" is damaged', "its SHA-256 is not the one recorded", _AGAIN)
    if verify_key is not None:
        require_signature(seal, verify_key, path)
    return text, seal


def _check_member_list(path: Path, manifest: Manifest) -> None:
    listed = tuple(member.path for member in manifest.members)
    if listed != MEMBERS and (listed != (*MEMBERS, TOKENIZER) or manifest.language_model is None):
        raise ArtifactError(
            f'the manifest of "{path}" lists the members {", ".join(listed) or "(none)"}',
            f"this format has exactly {', '.join(MEMBERS)}, and {TOKENIZER} in a language model",
            "compile the model again",
        )


def _verified_members(
    path: Path, mapped: memoryview, records: tuple[MemberRecord, ...], seal: Seal
) -> dict[str, memoryview]:
    blank = layout([Member(record.path, record.size, 0) for record in records], seal)
    if blank.total_size != len(mapped):
        raise _other_form(path, len(mapped), blank.total_size, records)
    members, data, damaged = [], {}, []
    for record, offset in zip(records, blank.offsets, strict=True):
        content = mapped[offset : offset + record.size]
        members.append(Member(record.path, record.size, zlib.crc32(content)))
        data[record.path] = content
        if hashlib.sha256(content).hexdigest() != record.sha256:
            damaged.append(record.path)
    if damaged:
        raise ArtifactError(
            f'{" and ".join(damaged)} in "{path}" {"are" if len(damaged) > 1 else "is"} damaged',
            "the SHA-256 is not the one that the manifest records",
            _AGAIN,
        )
    form = layout(members, seal)
    around = [*zip(form.header_offsets, form.headers, strict=True), (form.tail_offset, form.tail)]
    if any(mapped[start : start + len(wanted)] != wanted for start, wanted in around):
        raise _other_form(path, len(mapped), form.total_size, records)
    return data


def _other_form(path: Path, size: int, wanted: int, records: tuple[MemberRecord, ...]) -> ArtifactError:
    """What is wrong with an archive whose form is not the one that its manifest implies."""
    why = f"it has {size} bytes where its manifest implies {wanted}" if size != wanted else ""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
        counts = Counter(info.filename for info in infos)
        known = {record.path: record.size for record in records}
        faults = [
            *(f'member "{name}" is there {count} times' for name, count in counts.items() if count > 1),
            *(f'member "{name}" is not in the manifest' for name in counts if name not in known),
            *(f'member "{name}" is missing' for name in known if name not in counts),
            *(
                f'member "{info.filename}" has {info.file_size} bytes, the manifest says {known[info.filename]}'
                for info in infos
                if known.get(info.filename, info.file_size) != info.file_size
            ),
        ]
        why = "; ".join(faults) or why
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        pass
    return ArtifactError(
        f'the archive "{path}" is not in the form its manifest implies',
        why or "the zip's own tables are damaged, or bytes lie between its members",
        _AGAIN,
    )
