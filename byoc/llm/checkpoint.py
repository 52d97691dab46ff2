"""Tensors of a Hugging Face folder: one ``model.safetensors``, or shards with an index."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from byoc.errors import ModelFileError

Array = np.ndarray[Any, Any]
INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"


class Checkpoint:
    """Named tensors in safetensors files; each is read when it is asked for.

    Raises :class:`ModelFileError` where files are missing or damaged, or where a tensor is missing or has another shape
    than the configuration asks for.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._open: dict[str, Any] = {}
        self._file_of = self._index()

    def __contains__(self, name: str) -> bool:
        return name in self._file_of

    @property
    def names(self) -> list[str]:
        """All tensors, sorted."""
        return sorted(self._file_of)

    @property
    def files(self) -> list[Path]:
        """The files that hold them, sorted."""
        return sorted({self.folder / name for name in self._file_of.values()})

    def tensor(self, name: str, shape: Iterable[int] | None = None) -> Array:
        """A tensor as it is stored; bfloat16 as float32.  `shape` is what the configuration asks for."""
        if name not in self._file_of:
            raise ModelFileError(
                f'the checkpoint in {self.folder} has no tensor "{name}"',
                f"config.json asks for it; there are {len(self._file_of)} tensors",
                "use the config.json that belongs to the checkpoint",
            )
        array = self._read(name)
        if shape is not None and array.shape != tuple(shape):
            raise ModelFileError(
                f'tensor "{name}" of {self.folder} has shape {list(array.shape)}',
                f"config.json asks for {list(shape)}",
                "use the config.json that belongs to the checkpoint",
            )
        return array

    def floats(self, name: str, shape: Iterable[int] | None = None) -> Array:
        """A tensor as float32."""
        return np.asarray(self.tensor(name, shape), dtype=np.float32)

    def _index(self) -> dict[str, str]:
        index = self.folder / INDEX
        if index.is_file():
            try:
                found = json.loads(index.read_text("utf-8"))["weight_map"]
                return {str(k): _inside(self.folder, str(v)) for k, v in found.items()}
            except (ValueError, KeyError, AttributeError) as error:
                raise ModelFileError(f"{index} is no index of shards: {error}", "", "download it again") from None
        if not (self.folder / SINGLE).is_file():
            raise ModelFileError(
                f"{self.folder} has neither {SINGLE} nor {INDEX}",
                "byoc reads checkpoints in the safetensors format",
                "convert the checkpoint, or name the folder that has it",
            )
        return dict.fromkeys(self._file(SINGLE).keys(), SINGLE)

    def _file(self, name: str) -> Any:
        if name not in self._open:
            try:
                from safetensors import SafetensorError, safe_open
            except ImportError:
                raise ModelFileError(
                    "checkpoints are read with the package safetensors",
                    "it is not installed",
                    'pip install "byoc[llm]"',
                ) from None
            try:
                self._open[name] = safe_open(str(self.folder / name), framework="numpy")
            except (OSError, SafetensorError) as error:
                raise ModelFileError(
                    f"{self.folder / name} cannot be read: {error}",
                    "it is missing, cut off or damaged",
                    "download it again",
                ) from None
        return self._open[name]

    def _read(self, name: str) -> Array:
        file = self._file(self._file_of[name])
        part = file.get_slice(name)
        if str(part.get_dtype()) == "BF16":
            return _bfloat16(self.folder / self._file_of[name], name)
        return np.asarray(file.get_tensor(name))


def _inside(folder: Path, name: str) -> str:
    if (folder / name).resolve().parent != folder.resolve():
        raise ModelFileError(
            f'the index in {folder} names the shard "{name}"',
            "shards lie beside their index",
            "do not trust this model",
        )
    return name


def _bfloat16(path: Path, name: str) -> Array:
    """NumPy has no bfloat16, so that the file's bytes are read and widened."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        entry = json.loads(file.read(size))[name]
        begin, end = entry["data_offsets"]
        file.seek(8 + size + begin)
        bits = np.frombuffer(file.read(end - begin), np.uint16)
    return (bits.astype(np.uint32) << 16).view(np.float32).reshape(entry["shape"])
