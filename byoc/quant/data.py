"""Calibration data: one batch or several, checked against the model's inputs before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from byoc.errors import CalibrationError, did_you_mean

Batch = Mapping[str, np.ndarray]
CalibrationData = str | Path | Batch | Iterable[Batch]


def read_batches(data: CalibrationData) -> list[Batch]:
    """The batches in an ``.npz`` file, a folder of them (sorted by name), a mapping, or an iterable of mappings."""
    if isinstance(data, Mapping):
        return [data]
    if not isinstance(data, str | Path):
        return list(data)
    path = Path(data)
    if path.is_dir():
        files = sorted(path.glob("*.npz"))
        if not files:
            raise CalibrationError(f"the folder {path} holds no .npz file", "", "write batches with numpy.savez")
        return [_read_npz(file) for file in files]
    return [_read_npz(path)]


def _read_npz(path: Path) -> Batch:
    try:
        loaded = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise CalibrationError(f"the calibration data {path} does not exist", "", "check the path") from None
    except (ValueError, EOFError, OSError) as error:
        raise CalibrationError(f"{path} is no .npz file", _why(error), "write it with numpy.savez") from None
    if isinstance(loaded, np.ndarray):
        raise CalibrationError(
            f"{path} is an .npy file, whose array has no name", "", "write numpy.savez(file, input_name=array)"
        )
    try:
        return {name: loaded[name] for name in loaded.files}
    except (ValueError, EOFError, OSError) as error:
        raise CalibrationError(f"{path} cannot be read", _why(error), "write arrays of numbers") from None


def _why(error: Exception) -> str:
    """NumPy's reason, less its advice to load Python objects all the same."""
    return "its content is no array of numbers" if "pickle" in str(error) else str(error)


def checked_runs(batches: Sequence[Batch], inputs: Sequence[onnx.ValueInfoProto]) -> list[dict[str, np.ndarray]]:
    """The batches as runs of the model: where its first dimension is fixed, a larger batch is cut into several runs.

    Raises :class:`CalibrationError` for missing or unknown inputs, wrong ranks, shapes or dtypes, values that are not
    finite, and inputs that are zero throughout.
    """
    if not batches:
        raise CalibrationError("there is no calibration data", "", "give one batch at least")
    runs = [run for batch in batches for run in _cut(_checked(batch, inputs), inputs)]
    for value in inputs:
        arrays = [run[value.name] for run in runs]
        if arrays[0].dtype.kind == "f" and not any(array.any() for array in arrays):
            raise CalibrationError(
                f'the calibration data for input "{value.name}" is zero throughout',
                "ranges cannot be told from it",
                "give real inputs",
            )
    return runs


def _checked(batch: Batch, inputs: Sequence[onnx.ValueInfoProto]) -> dict[str, np.ndarray]:
    names = [value.name for value in inputs]
    for name in batch:
        if name not in names:
            raise CalibrationError(
                f'the calibration data names "{name}", which is no input of the model', "", did_you_mean(name, names)
            )
    for name in names:
        if name not in batch:
            raise CalibrationError(
                f'the calibration data has no array for input "{name}"',
                f"it has {', '.join(sorted(batch)) or 'none'}",
                f"write numpy.savez(file, {name}=array)",
            )
    return {value.name: _checked_array(np.asarray(batch[value.name]), value) for value in inputs}


def _checked_array(array: np.ndarray, value: onnx.ValueInfoProto) -> np.ndarray:
    wanted = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    shape = dims_of(value)
    if array.dtype != wanted:
        if not (array.dtype.kind == "f" and wanted.kind == "f"):
            raise CalibrationError(
                f'the calibration data for input "{value.name}" is {array.dtype}, the model takes {wanted}',
                "",
                "convert it as whoever runs the model does",
            )
        array = array.astype(wanted)
    fits = array.ndim == len(shape) and all(
        not isinstance(d, int) or n == d or (axis == 0 and d and n % d == 0)
        for axis, (n, d) in enumerate(zip(array.shape, shape, strict=True))
    )
    if not fits:
        raise CalibrationError(
            f'the calibration data for input "{value.name}" has the shape {list(array.shape)}, '
            f"the model takes [{', '.join(map(str, shape))}]",
            "",
            "give samples of that shape, the batch in front",
        )
    if not array.size:
        raise CalibrationError(
            f'the calibration data for input "{value.name}" is empty', "", "give one sample at least"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        count = int(array.size - np.isfinite(array).sum())
        raise CalibrationError(
            f'the calibration data for input "{value.name}" has {count} values that are not finite',
            "",
            "remove NaN and infinities",
        )
    return array


def dims_of(value: onnx.ValueInfoProto) -> list[Any]:
    """Sizes, and names (or ``"?"``) of symbolic dimensions."""
    dims = value.type.tensor_type.shape.dim
    return [d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in dims]


def _cut(batch: dict[str, np.ndarray], inputs: Sequence[onnx.ValueInfoProto]) -> Iterator[dict[str, np.ndarray]]:
    counts = set()
    for value in inputs:
        dims = dims_of(value)
        if dims and isinstance(dims[0], int):
            counts.add(batch[value.name].shape[0] // dims[0])
    if len(counts) > 1:
        raise CalibrationError("the arrays of the calibration data hold different numbers of samples")
    count = counts.pop() if counts else 1
    if count == 1:
        yield batch
        return
    if any(not dims_of(value) or not isinstance(dims_of(value)[0], int) for value in inputs):
        raise CalibrationError("some inputs only have a fixed first dimension", "", "give batches of one sample")
    for index in range(count):
        yield {
            value.name: batch[value.name][index * dims_of(value)[0] : (index + 1) * dims_of(value)[0]]
            for value in inputs
        }
