"""Arrays of numpy and of anything that speaks DLPack as TVM tensors, and back, without a copy where that is safe."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from byoc.artifact.dtypes import is_extended, numpy_dtype
from byoc.artifact.weights import ALIGNMENT

if TYPE_CHECKING:
    from tvm_ffi import Function, Tensor

Array = np.ndarray[Any, Any]


def aligned_empty(shape: tuple[int, ...], dtype: str | np.dtype[Any]) -> Array:
    """An uninitialised array that a session takes without a copy."""
    dtype = numpy_dtype(dtype) if isinstance(dtype, str) else dtype
    size = math.prod(shape)
    nbytes = max(size, 1) * dtype.itemsize  # an empty slice would lose its place, and with it the alignment
    memory = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -memory.__array_interface__["data"][0] % ALIGNMENT
    return memory[start : start + nbytes].view(dtype)[:size].reshape(shape)


def aligned_copy(array: Array) -> Array:
    copy = aligned_empty(array.shape, array.dtype)
    copy[...] = array
    return copy


def tensor_from_numpy(array: Array, dtype: str) -> Tensor:
    """A tensor on the memory of ``array``, or on an aligned copy if that is not contiguous or not aligned."""
    import tvm_ffi

    if not array.size:  # numpy gives empty arrays strides that TVM refuses
        place = tvm_ffi.from_dlpack(aligned_empty((1,), _integers_like(array.dtype)))
        return _create_view()(place, tvm_ffi.Shape(array.shape), tvm_ffi.dtype(dtype or str(array.dtype)), 0)
    if not array.flags.c_contiguous:
        array = aligned_copy(array)
    if is_extended(dtype):
        return _retyped(tensor_from_numpy(array.view(_integers_like(array.dtype)), ""), dtype)
    tensor = tvm_ffi.from_dlpack(array if array.flags.writeable else _read_only_capsule(array))
    if tensor.data_ptr() % ALIGNMENT:
        tensor = tvm_ffi.from_dlpack(aligned_copy(array))
    return tensor


def _read_only_capsule(array: Array) -> Any:
    """DLPack's old form cannot say "read-only", its new form can; a numpy that knows only the old form has to copy."""
    try:
        return array.__dlpack__(max_version=(1, 0))
    except (TypeError, BufferError):
        return aligned_copy(array)


def tensor_from_dlpack(source: Any) -> Tensor:
    """A tensor on the memory of a DLPack object, or on an aligned copy; raises what the object's exporter raises."""
    import tvm_ffi

    try:
        tensor = tvm_ffi.from_dlpack(source)
    except BufferError:  # a read-only exporter
        tensor = tvm_ffi.from_dlpack(source.__dlpack__(max_version=(1, 0)))
    if tensor.data_ptr() % ALIGNMENT or not tensor.is_contiguous() or not tensor.numel():
        dtype = str(tensor.dtype)
        tensor = tensor_from_numpy(aligned_copy(numpy_from_tensor(tensor)), dtype)
    return tensor


def numpy_from_tensor(tensor: Tensor, dtype: str | None = None) -> Array:
    """A numpy view of a tensor's memory; naming its dtype, where that is known, saves most of the time."""
    dtype = dtype or str(tensor.dtype)
    if not is_extended(dtype):
        return np.from_dlpack(tensor)
    target = numpy_dtype(dtype)
    return np.from_dlpack(_retyped(tensor, str(_integers_like(target)))).view(target)


def _integers_like(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(f"uint{8 * dtype.itemsize}")


def _retyped(tensor: Tensor, dtype: str) -> Tensor:
    import tvm_ffi

    return _create_view()(tensor, tvm_ffi.Shape(tensor.shape), tvm_ffi.dtype(dtype), 0)


@lru_cache(maxsize=1)
def _create_view() -> Function:
    import tvm_ffi

    return tvm_ffi.get_global_func("runtime.TVMTensorCreateView")
