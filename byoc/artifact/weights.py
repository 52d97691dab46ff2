"""Weights: kept once each, laid out so that a mapped file can be used in place."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from byoc.artifact.dtypes import dtype_name, numpy_dtype
from byoc.artifact.manifest import WeightRecord
from byoc.errors import ArtifactError

ALIGNMENT = 64  # bytes; what TVM's generated code assumes of every tensor


class WeightStore:
    """Tensors that a model's functions take after their inputs, or that partitions bind; equal ones are kept once."""

    def __init__(self) -> None:
        self._arrays: list[np.ndarray[Any, Any]] = []
        self._names: list[str] = []
        self._index: dict[tuple[str, tuple[int, ...], bytes], int] = {}

    def add(self, name: str, array: np.ndarray[Any, Any]) -> int:
        """Index of ``array`` in the weight table; an equal tensor (content, dtype, shape) has the same index.

        A C-contiguous array is kept by reference and must not change afterwards.  Raises :class:`ArtifactError` for a
        dtype that cannot be stored (object, text, complex, big-endian).
        """
        array = np.asarray(array)
        try:
            dtype = dtype_name(array.dtype)
        except ValueError as error:
            raise ArtifactError(
                f'weight "{name}" of shape {array.shape} cannot be stored', str(error), "cast it to one of these types"
            ) from None
        if not array.flags.c_contiguous:
            array = np.ascontiguousarray(array)
        key = (dtype, array.shape, hashlib.sha256(raw_bytes(array)).digest())
        if key not in self._index:
            frozen = array.view()
            frozen.flags.writeable = False
            self._index[key] = len(self._arrays)
            self._arrays.append(frozen)
            self._names.append(name)
        return self._index[key]

    def __len__(self) -> int:
        return len(self._arrays)

    @property
    def arrays(self) -> tuple[np.ndarray[Any, Any], ...]:
        """The tensors by index, read-only."""
        return tuple(self._arrays)

    def records(self) -> tuple[WeightRecord, ...]:
        """Where each tensor lies in the member that holds them all."""
        records, offset = [], 0
        for name, array in zip(self._names, self._arrays, strict=True):
            records.append(WeightRecord(name, dtype_name(array.dtype), array.shape, offset, array.nbytes))
            offset = _aligned(offset + array.nbytes)
        return tuple(records)

    def chunks(self) -> Iterator[memoryview]:
        """The bytes of that member, in order."""
        position = 0
        for record, array in zip(self.records(), self._arrays, strict=True):
            if record.offset > position:
                yield memoryview(bytes(record.offset - position))
            yield raw_bytes(array)
            position = record.offset + record.nbytes


def raw_bytes(array: np.ndarray[Any, Any]) -> memoryview:
    """The memory of a C-contiguous array, whatever its dtype."""
    return array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT


def view_weights(member: memoryview, records: Sequence[WeightRecord]) -> tuple[np.ndarray[Any, Any], ...]:
    """The tensors of a mapped member, without a copy and read-only.

    Raises :class:`ArtifactError` where a record lies outside the member, overlaps another, is not aligned, or has a
    size that its shape does not give.
    """
    end = 0
    arrays = []
    for record in records:
        try:
            dtype = numpy_dtype(record.dtype)
        except ValueError as error:
            raise _bad(record, str(error)) from None
        if record.nbytes != math.prod(record.shape) * dtype.itemsize:
            raise _bad(record, f"{record.nbytes} bytes do not hold {record.dtype}{list(record.shape)}")
        if record.offset % ALIGNMENT or record.offset < end:
            raise _bad(record, f"offset {record.offset} is not aligned, or overlaps the tensor before it")
        end = record.offset + record.nbytes
        if end > len(member):
            raise _bad(record, f"it ends at byte {end} of {len(member)}")
        array = np.frombuffer(member[record.offset : end], dtype=dtype).reshape(record.shape)
        array.flags.writeable = False
        arrays.append(array)
    return tuple(arrays)


def _bad(record: WeightRecord, why: str) -> ArtifactError:
    return ArtifactError(
        f'the artifact\'s weight table is wrong at "{record.name}"', why, "compile the model again, or copy it afresh"
    )
