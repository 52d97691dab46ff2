"""A run's inputs: checked by name, dtype and shape, then given to TVM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from byoc.artifact.dtypes import numpy_dtype
from byoc.artifact.manifest import EntryFunction
from byoc.errors import ArtifactError, InputError, did_you_mean
from byoc.runtime.dims import dim_value, is_name
from byoc.runtime.native import message_of
from byoc.runtime.tensors import tensor_from_dlpack, tensor_from_numpy
from byoc.tensor_spec import TensorSpec

if TYPE_CHECKING:
    from tvm_ffi import Tensor

_CPU_DEVICES = (1, 3, 11)  # DLPack's numbers for memory that a processor reads: plain, and pinned by CUDA or ROCm


class _Input:
    """One input with what a call needs of it worked out beforehand."""

    def __init__(self, spec: TensorSpec) -> None:
        self.spec = spec
        self.dtype = numpy_dtype(spec.dtype)
        self.fixed = tuple(spec.shape) if all(isinstance(dim, int) for dim in spec.shape) else None


class InputBinder:
    """Turns a mapping of arrays into the arguments of one entry function.

    ``bind`` raises :class:`InputError`, which lists what the function expects.
    """

    def __init__(self, entry: EntryFunction) -> None:
        self._entry = entry
        try:
            self._inputs = tuple(_Input(spec) for spec in entry.inputs)
        except ValueError as error:
            raise ArtifactError(
                f'entry function "{entry.name}" has an input that cannot be given', str(error), "cast it in the model"
            ) from None
        self._names = frozenset(spec.name for spec in entry.inputs)
        self._symbolic = any(item.fixed is None for item in self._inputs)
        self._good_shapes: list[tuple[int, ...]] | None = None  # those of the last call; most calls repeat them

    def bind(self, arrays: Mapping[str, Any]) -> list[Tensor]:
        """Tensors in the function's order; they share memory with the arrays where those are aligned and contiguous."""
        if not isinstance(arrays, Mapping):
            raise self._error(f"inputs are a {type(arrays).__name__}", "inputs are given by name", "pass a dict")
        if len(arrays) != len(self._inputs) or not self._names.issuperset(arrays):
            raise self._wrong_names(arrays)
        tensors, shapes = [], []
        for item in self._inputs:
            tensor, shape = self._tensor(item, arrays[item.spec.name])
            if item.fixed is not None and shape != item.fixed:
                raise self._wrong_shape(item.spec, shape)
            tensors.append(tensor)
            shapes.append(shape)
        if self._symbolic and shapes != self._good_shapes:
            self._check_symbols(shapes)
            self._good_shapes = shapes
        return tensors

    def _tensor(self, item: _Input, value: Any) -> tuple[Tensor, tuple[int, ...]]:
        name = item.spec.name
        if isinstance(value, np.generic):
            value = np.asarray(value)
        if isinstance(value, np.ndarray):
            if value.dtype != item.dtype:
                raise self._wrong_dtype(item.spec, str(value.dtype))
            return tensor_from_numpy(value, item.spec.dtype), value.shape
        if not hasattr(value, "__dlpack__"):
            raise self._error(
                f'input "{name}" is a {type(value).__name__}',
                "an input is a numpy array or an object that speaks DLPack",
                f"convert it: numpy.asarray(value, {item.spec.dtype!r})",
            )
        return self._exported(item, value)

    def _exported(self, item: _Input, value: Any) -> tuple[Tensor, tuple[int, ...]]:
        name = item.spec.name
        if value.__dlpack_device__()[0] not in _CPU_DEVICES:
            raise self._error(f'input "{name}" is on another device', "the artifact runs on the CPU", "copy it there")
        try:
            tensor = tensor_from_dlpack(value)
            dtype = str(tensor.dtype)
        except Exception as error:
            why = f"{type(value).__module__}.{type(value).__name__} says: {message_of(error)}"
            raise self._error(f'input "{name}" cannot be exported', why, "pass a numpy array") from error
        if dtype != item.spec.dtype:
            raise self._wrong_dtype(item.spec, dtype)
        return tensor, tensor.shape

    def _check_symbols(self, shapes: list[tuple[int, ...]]) -> None:
        """One size per symbol, and every expression over symbols true."""
        symbols: dict[str, int] = {}
        source: dict[str, str] = {}
        for item, shape in zip(self._inputs, shapes, strict=True):
            if len(shape) != item.spec.rank:
                raise self._wrong_shape(item.spec, shape)
            for axis, (dim, size) in enumerate(zip(item.spec.shape, shape, strict=True)):
                if isinstance(dim, int):
                    if dim != size:
                        raise self._wrong_shape(item.spec, shape)
                elif is_name(dim) and symbols.setdefault(dim, size) != size:
                    raise self._error(
                        f'dimension "{dim}" is {symbols[dim]} in {source[dim]} and {size} in "{item.spec.name}"'
                        f" (axis {axis})",
                        "a symbolic dimension has one size in a run",
                        "give arrays whose sizes agree",
                    )
                else:
                    source.setdefault(dim, f'"{item.spec.name}" (axis {axis})')
        for item, shape in zip(self._inputs, shapes, strict=True):
            for dim, size in zip(item.spec.shape, shape, strict=True):
                if isinstance(dim, str) and dim_value(dim, symbols) not in (None, size):
                    known = ", ".join(f"{name} = {value}" for name, value in sorted(symbols.items()))
                    raise self._error(
                        f'input "{item.spec.name}" has shape {list(shape)}',
                        f"its dimension {dim} should be {dim_value(dim, symbols)}, since {known}",
                        "give arrays whose sizes agree",
                    )

    def _wrong_names(self, arrays: Mapping[str, Any]) -> InputError:
        missing = [spec.name for spec in self._entry.inputs if spec.name not in arrays]
        unknown = [name for name in arrays if name not in self._names]
        faults = []
        if unknown:
            faults.append(f"no input is called {', '.join(repr(name) for name in unknown)}")
        if missing:
            faults.append(f"{', '.join(repr(name) for name in missing)} not given")
        hint = did_you_mean(str(unknown[0]), missing or self._names) if unknown else "give every input by its name"
        return self._error("; ".join(faults), "", hint)

    def _wrong_dtype(self, spec: TensorSpec, found: str) -> InputError:
        return self._error(
            f'input "{spec.name}" is {found}, {spec.dtype} is expected',
            "inputs are not converted, so that no precision is lost unseen",
            f'convert it: array.astype("{spec.dtype}")',
        )

    def _wrong_shape(self, spec: TensorSpec, shape: tuple[int, ...]) -> InputError:
        expected = "[" + ", ".join(str(dim) for dim in spec.shape) + "]"
        return self._error(f'input "{spec.name}" has shape {list(shape)}, {expected} is expected', "", "reshape it")

    def _error(self, what: str, why: str, todo: str) -> InputError:
        expected = "; ".join(str(spec) for spec in self._entry.inputs) or "no inputs"
        return InputError(what, why, f'{todo}; "{self._entry.name}" expects {expected}')
