"""Whether a codegen keeps to the contract of :mod:`byoc.codegen`: what it declares, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from byoc.codegen import VENDOR_FAULTS, Codegen, CSource, Option, Peaks, PyFunc, RuntimeModule, guilty_line
from byoc.errors import CheckError, EmitError, PluginLoadError

_LISTS_OF_TEXT = ("headers", "sources", "include_dirs", "libraries", "c_flags")


def check_declarations(name: str, cls: type[Codegen]) -> None:
    """Raise :class:`PluginLoadError` where a class attribute of a codegen is not what the contract says."""
    options: Any = cls.options
    layout: Any = cls.layout
    wanted = [
        ("options", _is_mapping_to(options, lambda v: isinstance(v, Option)), "byoc.Option by name"),
        ("layout", _is_mapping_to(layout, _is_texts), "a list of layouts by the name of an op"),
        ("peaks", isinstance(cls.peaks, Peaks), "byoc.Peaks(...)"),
        *((attribute, _is_texts(getattr(cls, attribute)), "a list of texts") for attribute in _LISTS_OF_TEXT),
    ]
    for attribute, holds, form in wanted:
        if not holds:
            raise PluginLoadError(
                f'codegen "{name}": its {attribute} is {_short(getattr(cls, attribute))}', f"it must be {form}"
            )


def ask(name: str, called: str, hook: Callable[[], Any], holds: Callable[[Any], bool], form: str) -> Any:
    """What the method `called` of codegen `name`, which takes no arguments, returns.

    Raises :class:`CheckError` if it raises, or returns something for which `holds` is false.
    """
    try:
        result = hook()
    except VENDOR_FAULTS as error:
        raise CheckError(
            f'codegen "{name}": {called} raised {type(error).__name__}: {error}',
            f"at {guilty_line(error)}",
            "this is a fault of the codegen, not of the model",
        ) from error
    if not holds(result):
        raise CheckError(f'codegen "{name}": {called} returned {_short(result)}', f"it must return {form}")
    return result


def instance(name: str, cls: type[Codegen]) -> Codegen:
    """The codegen; raises :class:`CheckError` if it cannot be made without arguments."""
    made: Codegen = ask(name, "__init__", cls, lambda made: isinstance(made, Codegen), "a codegen")
    return made


def unavailable(name: str, codegen: Codegen) -> str:
    """Why the target cannot be used on this machine, or ``""``; raises :class:`CheckError`."""
    form = 'a reason, or "" where it is available'
    return str(ask(name, "available", codegen.available, lambda r: isinstance(r, str), form))


def requirements(name: str, codegen: Codegen) -> tuple[str, ...]:
    """What the artifact needs where it runs; raises :class:`CheckError`."""
    return tuple(ask(name, "requires", codegen.requires, _is_texts, 'texts, such as ("file:/dev/npu0",)'))


def check_emitted(name: str, symbol: str, emitted: CSource | RuntimeModule | PyFunc) -> None:
    """Raise :class:`EmitError` where a field of what `emit` returned for a partition is not what the contract says."""
    for field, holds, form in _fields(emitted):
        if not holds:
            raise EmitError(
                f'codegen "{name}": emit returned a {type(emitted).__name__} for partition {symbol} whose {field} is '
                f"{_short(getattr(emitted, field))}",
                f"it must be {form}",
                "this is a fault of the codegen, not of the model",
            )


def _fields(emitted: Any) -> list[tuple[str, bool, str]]:
    from tvm_ffi import Module

    from byoc.dim import Dim

    if isinstance(emitted, PyFunc):
        return [("function", callable(emitted.function), "a function")]
    workspace = emitted.workspace
    enough = isinstance(workspace, Dim) or (isinstance(workspace, int) and workspace >= 0)
    common = [
        ("symbols", _is_texts(emitted.symbols), "a tuple of texts"),
        ("constants", _are_constants(emitted.constants), "pairs of a name and a numeric array"),
        ("bind", isinstance(emitted.bind, str), 'a symbol, or ""'),
        ("workspace", enough, "bytes, as an int or a Dim"),
        ("libraries", _is_texts(emitted.libraries), "a tuple of texts"),
    ]
    if isinstance(emitted, RuntimeModule):
        return [("module", isinstance(emitted.module, Module), "a runtime module of TVM"), *common]
    return [
        ("code", isinstance(emitted.code, str), "C source as text"),
        ("language", emitted.language in ("c", "c++"), '"c" or "c++"'),
        *common,
    ]


def _are_constants(value: Any) -> bool:
    if not isinstance(value, Sequence):
        return False
    pairs = [pair for pair in value if isinstance(pair, Sequence) and len(pair) == 2 and isinstance(pair[0], str)]
    return len(pairs) == len(value) and all(
        getattr(getattr(array, "dtype", None), "kind", "O") != "O" for _, array in pairs
    )


def _is_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _is_mapping_to(value: Any, holds: Callable[[Any], bool]) -> bool:
    return isinstance(value, Mapping) and all(isinstance(k, str) and holds(v) for k, v in value.items())


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
