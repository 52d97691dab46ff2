"""ONNX tensors as numpy arrays; external data is mapped, and never taken from outside the model's folder."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from byoc.errors import ExternalDataError, ModelFileError, UnsupportedModelError

# TVM tensors hold one value per byte at least; 4-bit types are unpacked to these.
_PACKED = {
    onnx.TensorProto.INT4,
    onnx.TensorProto.UINT4,
    onnx.TensorProto.FLOAT4E2M1,
    *(getattr(onnx.TensorProto, name) for name in ("INT2", "UINT2") if hasattr(onnx.TensorProto, name)),
}


def dtype_name(elem_type: int) -> str:
    """numpy's name of an ONNX element type ("float32"); raises ``UnsupportedModelError`` for strings and complex."""
    name = (
        onnx.TensorProto.DataType.Name(elem_type) if elem_type in onnx.TensorProto.DataType.values() else str(elem_type)
    )
    if name in ("STRING", "COMPLEX64", "COMPLEX128", "UNDEFINED") or elem_type in _PACKED or not name.isidentifier():
        raise UnsupportedModelError(
            f"the model has tensors of type {name.lower()}",
            "the importer takes float, integer and bool tensors of 8 bits or more per element",
            "convert such tensors before the export.",
        )
    return str(onnx.helper.tensor_dtype_to_np_dtype(elem_type))


class TensorReader:
    """Turns ``TensorProto`` into arrays, with external data looked up under ``folder``."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder.resolve() if folder else None

    def array(self, tensor: onnx.TensorProto) -> np.ndarray:
        """The tensor's values; external ones are a read-only view on the file.

        Raises
        ------
        ExternalDataError: the file is missing, too short, or outside the model's folder.
        ModelFileError: the tensor's data does not fit its shape.
        UnsupportedModelError: strings, complex or 4-bit elements.
        """
        dtype_name(tensor.data_type)  # refuses what has no array
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
        shape = tuple(tensor.dims)
        if min(shape, default=0) < 0:
            raise _misfit(tensor.name, shape, dtype)
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            return self._external(tensor, dtype, shape)
        try:
            if tensor.HasField("raw_data"):  # numpy_helper copies; a view is enough
                return np.frombuffer(tensor.raw_data, dtype=dtype).reshape(shape)
            return numpy_helper.to_array(tensor).reshape(shape)
        except (ValueError, TypeError) as error:
            raise _misfit(tensor.name, shape, dtype) from error

    def _external(self, tensor: onnx.TensorProto, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        path = self._resolve(tensor.name, entries.get("location", ""))
        needed = math.prod(shape) * dtype.itemsize
        try:
            offset, length = int(entries.get("offset", 0)), int(entries.get("length", needed))
        except ValueError as error:
            raise _external_error(tensor.name, f"offset or length of its data is not a number: {entries}") from error
        size = path.stat().st_size
        if offset < 0 or length < needed or offset + needed > size:
            raise _external_error(
                tensor.name, f'it needs {needed} bytes at offset {offset} of "{path.name}", which holds {size}'
            )
        if needed == 0:
            return np.zeros(shape, dtype)
        raw = np.memmap(path, dtype=np.uint8, mode="r", offset=offset, shape=(needed,))
        return raw.view(dtype).reshape(shape)

    def _resolve(self, name: str, location: str) -> Path:
        if self._folder is None:
            raise ExternalDataError(
                f'the data of tensor "{name}" is in another file, "{location}"',
                "a model given as bytes or as a proto has no folder to look in",
                "pass the model's path, or load its external data first.",
            )
        if not location or os.path.isabs(location) or "\\" in location or ".." in Path(location).parts:
            raise _outside(name, location)
        path = self._folder / location
        if not path.exists():
            raise ExternalDataError(
                f'the data of tensor "{name}" is missing: there is no file "{location}" beside the model',
                "its weights are kept in a file of their own",
                "put that file beside the model, or export the model with its weights inside.",
            )
        if not path.resolve().is_relative_to(self._folder):
            raise _outside(name, location)
        if not path.is_file():
            raise _external_error(name, f'"{location}" is not a regular file')
        return path


def _misfit(name: str, shape: tuple[int, ...], dtype: np.dtype) -> ModelFileError:
    return ModelFileError(
        f'the data of tensor "{name}" does not fit its shape {list(shape)} of {dtype}',
        "the file is damaged or was written wrongly",
        "export the model again.",
    )


def _outside(name: str, location: str) -> ExternalDataError:
    return ExternalDataError(
        f'the data of tensor "{name}" is at "{location}", outside the model\'s folder',
        "a model may only read files in its own folder",
        "put the file beside the model and name it relative to it.",
    )


def _external_error(name: str, why: str) -> ExternalDataError:
    return ExternalDataError(f'the data of tensor "{name}" cannot be read', why, "export the model again.")
