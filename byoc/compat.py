"""The pinned TVM: versions that byoc was proven with, and the names that TVM churns."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from byoc.errors import ToolchainError

TVM_VERSION = "0.27.0.post1"
TVM_FFI_VERSION = "0.1.14.post1"


def installed_version(package: str) -> str:
    """Version of an installed distribution, or ``""``."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


@lru_cache(maxsize=1)
def check_versions() -> None:
    """Raise :class:`ToolchainError` unless the pinned TVM wheels are the ones installed."""
    for package, wanted in (("apache-tvm", TVM_VERSION), ("apache-tvm-ffi", TVM_FFI_VERSION)):
        found = installed_version(package)
        if found != wanted:
            raise ToolchainError(
                f"{package} {found or '(none)'} is installed; byoc needs {wanted}",
                "other versions rename parts of the IR, and newer apache-tvm-ffi crashes when it saves IR",
                f'run: pip install "{package}=={wanted}"',
            )


def attrs_to_dict(attrs: Any) -> dict[str, Any]:
    """The fields of a Relax attribute object as plain Python values."""
    if attrs is None:
        return {}
    if isinstance(attrs, Mapping) or hasattr(attrs, "keys"):
        return {str(k): to_python(attrs[k]) for k in attrs.keys()}  # noqa: SIM118 - DictAttrs is no Mapping
    info = getattr(type(attrs), "__tvm_ffi_type_info__", None)
    return {f.name: to_python(getattr(attrs, f.name)) for f in info.fields} if info else {}


def to_python(value: Any) -> Any:
    """An attribute value of TVM as a plain Python value; what has no plain form stays as it is."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return str(value)
    kind = type(value).__name__
    if kind == "IntImm":
        return bool(value.value) if str(value.ty) == "bool" else int(value.value)
    if kind == "FloatImm":
        return float(value.value)
    if kind in ("PrimType", "DataType", "dtype"):
        return str(value).removeprefix("T.")
    if kind in ("StringImm", "DataTypeImm"):
        return str(value.value)
    if kind == "ShapeExpr":
        return tuple(to_python(v) for v in value.values)
    if kind == "Tuple":
        return tuple(to_python(v) for v in value.fields)
    if kind in ("Array", "List", "tuple", "list"):
        return tuple(to_python(v) for v in value)
    from byoc.dim import Dim

    if kind in ("Add", "Sub", "Mul", "FloorDiv", "FloorMod", "Max", "Min", "Var", "SizeVar"):
        return Dim(value)
    return value
