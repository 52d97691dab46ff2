"""Reading a model: from a path, bytes or a proto to a parsed ``ModelProto``, or one clear error."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import onnx
from google.protobuf.message import DecodeError

from byoc.errors import ModelFileError, UnsupportedModelError
from byoc.importer.text_fields import first_undecodable

ModelSource: TypeAlias = "str | os.PathLike[str] | bytes | onnx.ModelProto"

_EXPORT_AGAIN = "check the file, or export the model again."
_SIGNATURES = (
    (b"PK\x03\x04", "a zip archive"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x7fELF", "a compiled program or library"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file that it points to"),
    (b"<!DOCTYPE", "a web page"),
    (b"<html", "a web page"),
    (b"\x93NUMPY", "a numpy array"),
)


@dataclass(frozen=True)
class Model:
    """A parsed model, and the folder that its external data is relative to (None: it must have none)."""

    proto: onnx.ModelProto
    folder: Path | None
    name: str
    label: str  # how errors call it


def read_model(source: ModelSource) -> Model:
    """Parse ``source``.

    Raises
    ------
    ModelFileError: missing, empty, truncated, not a file, or not an ONNX model.
    UnsupportedModelError: an opset that the installed ``onnx`` package does not know.
    """
    if isinstance(source, onnx.ModelProto):
        model = Model(source, None, source.graph.name or "model", "the model")
    elif isinstance(source, bytes):
        model = Model(_parse(source, "the model given as bytes"), None, "model", "the model given as bytes")
    else:
        path = Path(source)
        label = f'"{path.name}"'
        model = Model(_parse(_read_file(path), label), path.resolve().parent, path.stem, label)
    _check_header(model)
    return model


def opset_versions(proto: onnx.ModelProto) -> dict[str, int]:
    """Version per domain; ONNX's own domain is ``""``."""
    versions = {"" if o.domain == "ai.onnx" else o.domain: o.version for o in proto.opset_import}
    return versions if versions else {"": 1}


def _read_file(path: Path) -> bytes:
    if not path.exists():
        raise ModelFileError(f'there is no file "{path}"', "", "check the path.")
    if path.is_dir():
        inside = sorted(p.name for p in path.glob("*.onnx"))
        todo = f'name the file, such as "{path / inside[0]}".' if inside else "name the .onnx file itself."
        raise ModelFileError(f'"{path}" is a folder, not an ONNX file', "", todo)
    if not path.is_file():
        raise ModelFileError(f'"{path}" is not a regular file', "", "name the .onnx file itself.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelFileError(
            f'"{path}" cannot be read', error.strerror or str(error), "check its permissions."
        ) from error


def _parse(data: bytes, label: str) -> onnx.ModelProto:
    if not data:
        raise ModelFileError(f"{label} is empty", "it holds 0 bytes", _EXPORT_AGAIN)
    for signature, kind in _SIGNATURES:
        if data.startswith(signature):
            raise ModelFileError(f"{label} is not an ONNX model", f"it is {kind}", "name an ONNX file.")
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except (DecodeError, ValueError) as error:
        if _is_text(data):
            raise ModelFileError(f"{label} is not an ONNX model", "it is text", "name an ONNX file.") from error
        raise ModelFileError(
            f"{label} is not an ONNX model, or was cut short",
            f"its {len(data)} bytes do not decode as one",
            _EXPORT_AGAIN,
        ) from error
    if (place := first_undecodable(proto)) is not None:
        raise ModelFileError(f"{label} is damaged", f"{place} is a text, and is not UTF-8", _EXPORT_AGAIN)
    return proto


def _is_text(data: bytes) -> bool:
    head = data[:512]
    return all(byte in (9, 10, 13) or 32 <= byte < 127 for byte in head)


def _check_header(model: Model) -> None:
    proto = model.proto
    if not proto.HasField("graph") or not (proto.graph.output or proto.graph.node):
        raise ModelFileError(
            f"{model.label} is not an ONNX model, or was cut short", "it holds no graph", _EXPORT_AGAIN
        )
    if not proto.graph.output:
        raise ModelFileError(f"{model.label} has no outputs", "its graph declares none", _EXPORT_AGAIN)
    if proto.ir_version >= 3 and not proto.opset_import:
        raise ModelFileError(
            f"{model.label} declares no opset, or was cut short", "every ONNX model does", _EXPORT_AGAIN
        )
    newest = onnx.defs.onnx_opset_version()
    version = opset_versions(proto).get("", 1)
    if version > newest:
        raise UnsupportedModelError(
            f"{model.label} uses opset {version}",
            f"the installed onnx {onnx.__version__} knows opsets up to {newest}",
            f"export the model with opset {min(newest, 21)}.",
        )
    for domain, version in opset_versions(proto).items():
        if not 1 <= version < 2**31:
            raise ModelFileError(
                f"{model.label} declares opset {version}" + (f" of domain {domain}" if domain else ""),
                "opsets count from 1",
                _EXPORT_AGAIN,
            )
