"""The file of a saved state: an ``.npz``, of which nothing is believed that it says of itself.

What every member must be is known to the reader, down to the bytes of its header, so none is parsed and no size is
taken from the file.
"""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from byoc.artifact.writer import write_atomically
from byoc.errors import ArtifactError

Array = np.ndarray[Any, Any]
_MODEL = "model"


def write_state(path: Path, arrays: Mapping[str, Array], model: str) -> None:
    """Write named arrays and the digest of their model, whole or not at all.  Raises :class:`ArtifactError`."""
    buffer = io.BytesIO()
    members: dict[str, Any] = {**arrays, _MODEL: np.array(model)}
    np.savez(buffer, **members)
    write_atomically(path, [buffer.getbuffer()])


def read_state(path: Path, wanted: Mapping[str, Array], model: str) -> dict[str, Array]:
    """Arrays of the names, dtypes and shapes of `wanted`, which :func:`write_state` wrote for this model.

    Raises :class:`ArtifactError` for a file that is missing, of another model, or anything else.
    """
    try:
        with zipfile.ZipFile(path) as file:
            _require_model(path, file, model)
            return {name: _array(file, name, like) for name, like in wanted.items()}
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read", error.strerror or str(error), "check the path") from None
    except (ValueError, KeyError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise damaged(path, str(error)) from None


def damaged(path: str | os.PathLike[str], why: str) -> ArtifactError:
    """The error for a file that is no saved state."""
    return ArtifactError(f"{os.fspath(path)} is no saved state, or is damaged", why, "save the state again")


def _require_model(path: Path, file: zipfile.ZipFile, model: str) -> None:
    own = np.array(model)
    info = file.getinfo(f"{_MODEL}.npy")
    found = _digest(_content(file, info)) if info.file_size < 4096 else ""
    if found != model:
        raise ArtifactError(
            f"{path} holds the state of another model, or of other codegens",
            f"it was saved for {found[:12] or 'none'}, this is {model[:12]}",
            "restore it with the artifact that it was saved from",
        )
    _array(file, _MODEL, own)


def _digest(member: bytes) -> str:
    """The text in a member, as far as it is letters and digits; its header ends with a line break."""
    text = member.partition(b"\n")[2].decode("utf-32-le", errors="replace")
    return "".join(c for c in text if c.isascii() and c.isalnum())


def _array(file: zipfile.ZipFile, name: str, like: Array) -> Array:
    info = file.getinfo(f"{name}.npy")
    head = _header(like)
    if info.file_size != len(head) + like.nbytes:
        raise ValueError(f'"{name}" has {info.file_size:,} bytes where {len(head) + like.nbytes:,} belong')
    content = _content(file, info)
    if content[: len(head)] != head:
        raise ValueError(f'"{name}" is missing or has another shape')
    return np.frombuffer(content, like.dtype, offset=len(head)).reshape(like.shape)


def _content(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f'"{info.filename}" is compressed')
    return file.read(info)


def _header(like: Array) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, np.lib.format.header_data_from_array_1_0(like))
    return buffer.getvalue()
