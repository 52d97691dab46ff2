"""Tensors of a Hugging Face folder: one ``model.safetensors``, or shards with an index."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from byoc.errors import ModelFileError
from byoc.llm.config_fields import read_fields

Array = np.ndarray[Any, Any]
_DTYPES = {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"}
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
        """A tensor of finite floats as float32."""
        array = self.tensor(name, shape)
        if array.dtype.kind != "f":
            raise ModelFileError(
                f'tensor "{name}" of {self.folder} holds {array.dtype}',
                "config.json asks for floats",
                "use the config.json that belongs to the checkpoint",
            )
        with np.errstate(over="ignore"):
            found = np.asarray(array, dtype=np.float32)
        if not np.isfinite(found).all():
            raise ModelFileError(
                f'tensor "{name}" of {self.folder} holds NaN or infinity',
                "one such weight makes all logits NaN",
                "download the model again",
            )
        return found

    def _index(self) -> dict[str, str]:
        index = self.folder / INDEX
        if index.is_file():
            found = read_fields(index).inner("weight_map")
            if found is None:
                raise ModelFileError(f"{index} is no index of shards", 'it has no "weight_map"', "download it again")
            return {name: _inside(self.folder, found.text(name)) for name in found.names}
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
        if name not in file.keys():  # noqa: SIM118 - it is no mapping
            raise ModelFileError(
                f'{self.folder / self._file_of[name]} has no tensor "{name}"',
                f"{INDEX} says that it has",
                "download the model again",
            )
        dtype = str(file.get_slice(name).get_dtype())
        if dtype == "BF16":
            return _bfloat16(self.folder / self._file_of[name], name)
        if dtype not in _DTYPES:
            raise ModelFileError(
                f'tensor "{name}" of {self.folder} is kept as {dtype}',
                "byoc reads floats of 16, 32 and 64 bits, and integers",
                "take the checkpoint in bfloat16 or float16",
            )
        return np.asarray(file.get_tensor(name))


def _inside(folder: Path, name: str) -> str:
    if (folder / name).resolve().parent != folder.resolve():
        raise ModelFileError(
            f'the index in {folder} names the shard "{name}"',
            "shards lie beside their index",
            "do not trust this model",
        )
    if not (folder / name).is_file():
        raise ModelFileError(f'the shard "{name}" is missing from {folder}', f"{INDEX} names it", "download it again")
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
