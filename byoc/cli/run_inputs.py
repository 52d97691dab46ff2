"""Inputs of a run: from files, or random ones that a model can digest."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from byoc.artifact.dtypes import numpy_dtype
from byoc.errors import InputError, ShapeError, did_you_mean
from byoc.runtime.dims import dim_value, is_name
from byoc.tensor_spec import TensorSpec

Shape = tuple[int, ...]


def parse_assignments(flag: str, values: Sequence[str], known: Sequence[str]) -> dict[str, Path]:
    """``("x=a.npy",)`` to ``{"x": Path("a.npy")}``; names must be known.  Raises :class:`InputError`."""
    parsed: dict[str, Path] = {}
    for value in values:
        name, equals, file = value.rpartition("=")
        if not equals or not name or not file:
            raise InputError(f'{flag} "{value}" is malformed', "", f"write it as {flag} name=file.npy")
        if name not in known:
            what = flag.removeprefix("--")
            raise InputError(f'the artifact has no {what} "{name}"', "", did_you_mean(name, known))
        if name in parsed:
            raise InputError(f'{flag} gives "{name}" twice', f"once {parsed[name]}, once {file}", "drop one of them")
        parsed[name] = Path(file)
    return parsed


def read_array(name: str, path: Path) -> np.ndarray:
    """The array in an ``.npy`` file.  Raises :class:`InputError`; pickled files are refused."""
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f'the file {path} for input "{name}" does not exist', "", "check the path") from None
    except (ValueError, EOFError, OSError) as error:
        raise InputError(
            f'the file {path} for input "{name}" is no .npy file', f"{error}", "write it with numpy.save"
        ) from None
    if not isinstance(array, np.ndarray):
        raise InputError(f'the file {path} for input "{name}" holds several arrays', "", "write one with numpy.save")
    return array


def symbol_values(
    inputs: Sequence[TensorSpec], given: Mapping[str, np.ndarray], asked: Mapping[str, Sequence[int | str | None]]
) -> dict[str, int]:
    """The size of every symbolic dimension: from arrays, from ``--shape``, else 1.

    Raises :class:`ShapeError` where ``--shape`` contradicts an input.
    """
    specs = {spec.name: spec for spec in inputs}
    for name in asked:
        if name not in specs:
            raise ShapeError(
                f'--shape names the input "{name}", which the artifact lacks', "", did_you_mean(name, specs)
            )
    values: dict[str, int] = {}
    known: dict[str, Sequence[int | str | None]] = {**asked, **{name: a.shape for name, a in given.items()}}
    for name, dims in known.items():
        _bind(specs[name], dims, values)
    symbols = {name for spec in inputs for dim in spec.shape if isinstance(dim, str) for name in _symbols_of(dim)}
    return {**dict.fromkeys(sorted(symbols), 1), **values}


def _symbols_of(dim: str) -> list[str]:
    return [dim] if is_name(dim) else re.findall(r"[A-Za-z_]\w*", dim)


def _bind(spec: TensorSpec, dims: Sequence[int | str | None], values: dict[str, int]) -> None:
    if len(dims) != len(spec.shape):
        raise ShapeError(f'input "{spec.name}" has {len(dims)} dimensions, the artifact takes {spec}')
    for dim, wanted in zip(dims, spec.shape, strict=True):
        if not isinstance(dim, int):
            continue
        symbolic = isinstance(wanted, str) and is_name(wanted)
        expected = values.setdefault(str(wanted), dim) if symbolic else wanted
        if isinstance(expected, int) and expected != dim:
            raise ShapeError(f'input "{spec.name}" has a dimension of {dim} where {expected} is needed: {spec}')


def concrete_shape(spec: TensorSpec, sizes: Mapping[str, int]) -> Shape:
    """The shape of an input once every symbol has a size.  Raises :class:`ShapeError` for what is no arithmetic."""
    shape = []
    for dim in spec.shape:
        size = dim if isinstance(dim, int) else dim_value(dim, sizes)
        if size is None or size < 0:
            raise ShapeError(
                f'the dimension "{dim}" of input "{spec.name}" has no size here', "", "give the input with --input"
            )
        shape.append(size)
    return tuple(shape)


def random_input(spec: TensorSpec, shape: Shape, generator: np.random.Generator) -> np.ndarray:
    """Random values that fit the dtype and, by its name, the role of an input.

    Masks are all ones, segment ids zeros, position ids count up; other ints are small enough for any table of
    embeddings, 8-bit ones use their whole range; floats are standard normal.
    """
    name = spec.name.lower()
    dtype = numpy_dtype(spec.dtype)
    if dtype.kind == "b":
        return np.ones(shape, dtype) if "mask" in name else generator.integers(0, 2, shape).astype(dtype)
    if dtype.kind not in "iu":
        return generator.standard_normal(shape, np.float32).astype(dtype)
    if "mask" in name:
        return np.ones(shape, dtype)
    if "token_type" in name or "segment" in name:
        return np.zeros(shape, dtype)
    if "position" in name and shape:
        return np.broadcast_to(np.arange(shape[-1]), shape).astype(dtype)
    low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max + 1) if dtype.itemsize == 1 else (0, 10)
    return generator.integers(low, high, shape).astype(dtype)
