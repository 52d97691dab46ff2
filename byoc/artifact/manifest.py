"""What an artifact says about itself, readable without any of its other members."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from byoc.errors import ArtifactError
from byoc.tensor_spec import TensorSpec

FORMAT_VERSION = 3
_T = TypeVar("_T")


@dataclass(frozen=True)
class CodegenRecord:
    """A codegen that took part, its version, and what it needs of the machine, in words."""

    name: str
    version: str
    requires: tuple[str, ...] = ()


@dataclass(frozen=True)
class EntryFunction:
    """A callable function.

    The library's function of that name takes the inputs in order, then the states and then the weights whose indices
    are listed.  States are updated in place.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    weights: tuple[int, ...] = ()
    states: tuple[int, ...] = ()


@dataclass(frozen=True)
class PartitionRecord:
    """An external function of the library.

    If ``bind`` is not None, the library's function of that name is called once after loading, with the weights whose
    indices are in ``constants``; they stay where they are for as long as the library is loaded.
    """

    symbol: str
    target: str
    bind: str | None = None
    constants: tuple[int, ...] = ()


@dataclass(frozen=True)
class KernelRecord:
    """A call of a host kernel: the entry function that makes it, and the indices of the plan's ops that it computes.

    The calls of one symbol stand in the order in which a run makes them.
    """

    entry: str
    symbol: str
    ops: tuple[int, ...]


@dataclass(frozen=True)
class WeightRecord:
    """A tensor in the member that holds the weights; ``offset`` and ``nbytes`` are bytes within it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


@dataclass(frozen=True)
class MemberRecord:
    """A file in the archive; ``size`` is in bytes."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Everything the compatibility check and ``byoc inspect`` need.

    ``cpu_features`` names instruction-set extensions that the native code uses without asking (``"avx512f"``).
    ``weights``, ``members`` and an empty ``build_id`` are filled in when the artifact is saved.
    """

    byoc_version: str
    tvm_version: str
    tvm_ffi_version: str
    architecture: str
    cpu: str = "baseline"
    cpu_features: tuple[str, ...] = ()
    codegens: tuple[CodegenRecord, ...] = ()
    entry_functions: tuple[EntryFunction, ...] = ()
    partitions: tuple[PartitionRecord, ...] = ()
    kernels: tuple[KernelRecord, ...] = ()
    weights: tuple[WeightRecord, ...] = ()
    members: tuple[MemberRecord, ...] = ()
    states: tuple[TensorSpec, ...] = ()
    build_id: str = ""
    model_digest: str = ""
    language_model: Mapping[str, Any] | None = None
    format_version: int = FORMAT_VERSION

    def entry(self, name: str) -> EntryFunction | None:
        return next((entry for entry in self.entry_functions if entry.name == name), None)

    @property
    def state_digest(self) -> str:
        """What a state was made for: the model, and the codegens, each of which may lay a state out in its own way."""
        parts = [self.model_digest, *sorted(f"{c.name} {c.version}" for c in self.codegens)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def to_json(self) -> str:
        """JSON text; equal manifests give equal text."""
        return json.dumps(_plain(self), indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Raises :class:`ArtifactError` for another format version, or where a field is missing or ill-typed."""
        try:
            value = json.loads(text)
            version = value["format_version"] if isinstance(value, dict) else None
            if type(version) is not int:
                raise ValueError("it has no format version")
        except (ValueError, KeyError, RecursionError) as error:
            raise _malformed(error) from None
        check_format_version(version)
        try:
            return _manifest(value)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _malformed(error) from None


def check_format_version(version: int) -> None:
    """Raise :class:`ArtifactError` unless this byoc reads artifacts of that format version."""
    if version == FORMAT_VERSION:
        return
    newer = version > FORMAT_VERSION
    raise ArtifactError(
        f"the artifact has format version {version}; this byoc reads version {FORMAT_VERSION}",
        f"it was written by {'a newer' if newer else 'an older'} byoc",
        "upgrade byoc, or compile the model again with this one" if newer else "compile the model again",
    )


def _malformed(error: Exception) -> ArtifactError:
    missing = f"the field {error} is missing" if isinstance(error, KeyError) else str(error)
    return ArtifactError("the artifact's manifest is malformed", missing, "compile the model again")


def _plain(value: Any) -> Any:
    if isinstance(value, TensorSpec):
        return value.to_json()
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a text")
    return value


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is not a number from 0 up")
    return value


def _list(value: Any, item: Callable[[Any], _T]) -> tuple[_T, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is not a list")
    return tuple(item(element) for element in value)


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is not an object")
    return value


def _manifest(value: Mapping[str, Any]) -> Manifest:
    manifest = Manifest(
        byoc_version=_text(value["byoc_version"]),
        tvm_version=_text(value["tvm_version"]),
        tvm_ffi_version=_text(value["tvm_ffi_version"]),
        architecture=_text(value["architecture"]),
        cpu=_text(value["cpu"]),
        cpu_features=_list(value["cpu_features"], _text),
        codegens=_list(value["codegens"], _codegen),
        entry_functions=_list(value["entry_functions"], _entry_function),
        partitions=_list(value["partitions"], _partition),
        kernels=_list(value["kernels"], _kernel),
        weights=_list(value["weights"], _weight),
        members=_list(value["members"], _member),
        states=_list(value["states"], TensorSpec.from_json),
        build_id=_text(value["build_id"]),
        model_digest=_text(value["model_digest"]),
        language_model=None if value["language_model"] is None else dict(_mapping(value["language_model"])),
        format_version=value["format_version"],
    )
    _check_references(manifest)
    return manifest


def _check_references(manifest: Manifest) -> None:
    names = [entry.name for entry in manifest.entry_functions]
    if len(set(names)) != len(names):
        raise ValueError(f"entry functions have the same name: {', '.join(sorted(names))}")
    for owner, indices in [
        *((entry.name, entry.weights) for entry in manifest.entry_functions),
        *((partition.symbol, partition.constants) for partition in manifest.partitions),
    ]:
        if any(index >= len(manifest.weights) for index in indices):
            raise ValueError(f"{owner!r} refers to a weight that is not there ({len(manifest.weights)} are)")
    for entry in manifest.entry_functions:
        if any(index >= len(manifest.states) for index in entry.states):
            raise ValueError(f"{entry.name!r} refers to a state that is not there ({len(manifest.states)} are)")
    for state in manifest.states:
        if any(isinstance(dim, str) for dim in state.shape):
            raise ValueError(f"the state {state.name!r} has a dimension of unknown size")


def _codegen(value: Any) -> CodegenRecord:
    return CodegenRecord(_text(value["name"]), _text(value["version"]), _list(value["requires"], _text))


def _entry_function(value: Any) -> EntryFunction:
    return EntryFunction(
        _text(value["name"]),
        _list(value["inputs"], TensorSpec.from_json),
        _list(value["outputs"], TensorSpec.from_json),
        _list(value["weights"], _number),
        _list(value["states"], _number),
    )


def _partition(value: Any) -> PartitionRecord:
    bind = None if value["bind"] is None else _text(value["bind"])
    return PartitionRecord(_text(value["symbol"]), _text(value["target"]), bind, _list(value["constants"], _number))


def _kernel(value: Any) -> KernelRecord:
    return KernelRecord(_text(value["entry"]), _text(value["symbol"]), _list(value["ops"], _number))


def _weight(value: Any) -> WeightRecord:
    return WeightRecord(
        _text(value["name"]),
        _text(value["dtype"]),
        _list(value["shape"], _number),
        _number(value["offset"]),
        _number(value["nbytes"]),
    )


def _member(value: Any) -> MemberRecord:
    return MemberRecord(_text(value["path"]), _number(value["size"]), _text(value["sha256"]))
