"""The zip container, written and read in exactly one form.

Members are stored, not compressed; every size is written in 64 bits; the data of each member begins at a multiple of
4096 bytes, so that it can be mapped; the manifest is first.  The bytes around the members follow from their paths,
sizes and checksums alone, so a reader knows what they must be: anything added, doubled, moved or hidden shows.
Any zip tool lists and unpacks such a file.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

PAGE = 4096
MANIFEST = "manifest.json"

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END64 = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR = struct.Struct("<4sIQI")
_END = struct.Struct("<4sHHHHIIH")
_ZIP64_LOCAL = struct.Struct("<HHQQ")
_ZIP64_CENTRAL = struct.Struct("<HHQQQ")
_PADDING = struct.Struct("<HH")
_PADDING_ID = 0x6279
_VERSION = 45  # the first version of the format with 64-bit sizes
_MADE_BY = 0x0300 | _VERSION  # 3: attributes as Unix gives them
_UTF8 = 0x0800
_DATE = (0 << 9) | (1 << 5) | 1  # 1 January 1980: the same bytes whenever it is written
_MODE = 0o100644 << 16
_IN_EXTRA = 0xFFFFFFFF
_COMMENT = "byoc artifact; sha256 of manifest.json: "
_SIGNATURE = "; ed25519 signature: "
_UNSIGNED = len(_COMMENT) + 64
_SIGNED = _UNSIGNED + len(_SIGNATURE) + 128


@dataclass(frozen=True)
class Member:
    """A file in the archive: its path, size in bytes, and CRC-32."""

    path: str
    size: int
    crc32: int


@dataclass(frozen=True)
class Layout:
    """Where everything goes: ``headers[i]`` ends where the data of member ``i`` begins, at ``offsets[i]``."""

    headers: tuple[bytes, ...]
    header_offsets: tuple[int, ...]
    offsets: tuple[int, ...]
    tail: bytes
    tail_offset: int

    @property
    def total_size(self) -> int:
        return self.tail_offset + len(self.tail)


@dataclass(frozen=True)
class Seal:
    """What protects the manifest, in the archive's comment: its SHA-256, and a signature of that or none; both hex."""

    manifest_sha256: str
    signature: str = ""

    @property
    def signed_text(self) -> bytes:
        """What a signature signs.  The manifest holds the digests of all other members, so it covers the whole file."""
        return (_COMMENT + self.manifest_sha256).encode("ascii")

    @property
    def comment(self) -> bytes:
        return self.signed_text + ((_SIGNATURE + self.signature).encode("ascii") if self.signature else b"")


def seal_in(tail: bytes) -> Seal | None:
    """The seal in the last bytes of a file, or None if it does not end as it must."""
    for length in (_UNSIGNED, _SIGNED):
        end = tail[-(_END.size + length) :]
        text = end[_END.size :].decode("latin-1")
        if len(text) == length and end[:4] == b"PK\5\6" and text.startswith(_COMMENT):
            digest, rest = text[len(_COMMENT) : _UNSIGNED], text[_UNSIGNED:]
            if rest[: len(_SIGNATURE)] in ("", _SIGNATURE):
                return Seal(digest, rest[len(_SIGNATURE) :])
    return None


END_SIZE = _END.size + _SIGNED


def manifest_size_in(head: bytes) -> int | None:
    """The size of the manifest by the first page of a file, or None if that page does not begin an artifact."""
    if len(head) < PAGE:
        return None
    fields = _LOCAL.unpack_from(head)
    name_end = _LOCAL.size + len(MANIFEST)
    if fields[0] != b"PK\3\4" or fields[9] != len(MANIFEST) or head[_LOCAL.size : name_end] != MANIFEST.encode():
        return None
    tag, _, size, stored_size = _ZIP64_LOCAL.unpack_from(head, name_end)
    return size if tag == 1 and size == stored_size else None


def layout(members: Sequence[Member], seal: Seal) -> Layout:
    """The form of an archive with these members, in this order."""
    headers, header_offsets, offsets, directory = [], [], [], []
    position = 0
    for member in members:
        header = _local_header(member, position)
        headers.append(header)
        header_offsets.append(position)
        directory.append(_central_header(member, position))
        position += len(header)
        offsets.append(position)
        position += member.size
    central = b"".join(directory)
    tail = central + _end_records(len(members), position, len(central), seal.comment)
    return Layout(tuple(headers), tuple(header_offsets), tuple(offsets), tail, position)


def _local_header(member: Member, position: int) -> bytes:
    name = member.path.encode("utf-8")
    sizes = _ZIP64_LOCAL.pack(1, 16, member.size, member.size)
    unpadded = position + _LOCAL.size + len(name) + len(sizes) + _PADDING.size
    padding = -unpadded % PAGE
    extra = sizes + _PADDING.pack(_PADDING_ID, padding) + bytes(padding)
    fixed = _LOCAL.pack(
        b"PK\3\4", _VERSION, _UTF8, 0, 0, _DATE, member.crc32, _IN_EXTRA, _IN_EXTRA, len(name), len(extra)
    )
    return fixed + name + extra


def _central_header(member: Member, position: int) -> bytes:
    name = member.path.encode("utf-8")
    extra = _ZIP64_CENTRAL.pack(1, 24, member.size, member.size, position)
    sizes = (_IN_EXTRA, _IN_EXTRA, len(name), len(extra), 0, 0, 0, _MODE, _IN_EXTRA)
    fixed = _CENTRAL.pack(b"PK\1\2", _MADE_BY, _VERSION, _UTF8, 0, 0, _DATE, member.crc32, *sizes)
    return fixed + name + extra


def _end_records(count: int, start: int, length: int, text: bytes) -> bytes:
    record = _END64.pack(b"PK\6\6", _END64.size - 12, _MADE_BY, _VERSION, 0, 0, count, count, length, start)
    locator = _LOCATOR.pack(b"PK\6\7", 0, start + length, 1)
    end = _END.pack(b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, _IN_EXTRA, _IN_EXTRA, len(text))
    return record + locator + end + text
