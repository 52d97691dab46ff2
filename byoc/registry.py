"""Which codegens there are: registered in this process, installed as packages, or loaded from a file."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from byoc.codegen import VENDOR_FAULTS, Codegen, Option, RegisteredCodegen, guilty_line
from byoc.contract import check_declarations, instance, unavailable
from byoc.errors import OptionError, PluginError, PluginLoadError, UnknownTargetError, did_you_mean
from byoc.patterns import as_pattern

GROUP = "byoc.codegens"
_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_registered: dict[str, RegisteredCodegen] = {}


def register_codegen(name: str, version: str = "0") -> Callable[[type[Codegen]], type[Codegen]]:
    """Class decorator that makes a codegen known as target `name`.

    Raises :class:`PluginLoadError` when the name is taken by another class, is malformed or reserved, or when a
    pattern is none.
    """

    def decorate(cls: type[Codegen]) -> type[Codegen]:
        if not _NAME.match(name) or name == "host":
            raise PluginLoadError(
                f'a codegen cannot be called "{name}"',
                '"host" is TVM itself, and names become C identifiers',
                "use lower-case letters, digits and underscores, starting with a letter",
            )
        if not (isinstance(cls, type) and issubclass(cls, Codegen)):
            raise PluginLoadError(f'codegen "{name}" is {cls!r}, not a class derived from byoc.Codegen')
        file = _source_file(cls)
        taken = _registered.get(name)
        if taken is not None and taken.origin != str(file):
            raise PluginLoadError(
                f'two codegens are called "{name}"',
                f"one is in {taken.origin}, the other in {file}",
                "uninstall one, or register it under another name",
            )
        check_declarations(name, cls)
        try:
            patterns = {key: as_pattern(pattern) for key, pattern in cls.patterns.items()}
        except (TypeError, AttributeError) as error:
            raise PluginLoadError(f'codegen "{name}": a pattern is malformed', str(error)) from error
        cls.name, cls.version, cls.folder = name, version, file.parent
        _registered[name] = RegisteredCodegen(name, version, cls, str(file), patterns)
        return cls

    return decorate


def _source_file(cls: type) -> Path:
    try:
        return Path(inspect.getfile(cls)).resolve()
    except (TypeError, OSError):
        return Path("<interactive>")


def load_plugin(path: str | Path) -> None:
    """Run a Python file that registers codegens or lowerings.

    Raises :class:`PluginLoadError` when the file is missing, raises, or registers nothing.
    """
    file = Path(path).resolve()
    if not file.is_file():
        raise PluginLoadError(f"plugin {path} does not exist", "", "give the path of a Python file")
    before = dict(_registered)
    module_name = f"byoc_plugin_{file.stem}"
    spec = importlib.util.spec_from_file_location(module_name, file)
    if spec is None or spec.loader is None:
        raise PluginLoadError(f"plugin {path} is not a Python file", "", "its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except PluginLoadError:
        raise
    except VENDOR_FAULTS as error:
        raise PluginLoadError(
            f"plugin {path} cannot be loaded: {type(error).__name__}: {error}", f"raised at {guilty_line(error)}"
        ) from error
    if (
        all(before.get(n) is c for n, c in _registered.items())
        and not any(c.origin == str(file) for c in _registered.values())
        and not _has_lowerings(module_name)
    ):
        raise PluginLoadError(
            f"plugin {path} registers no codegen", "", 'decorate a class with @register_codegen("name")'
        )


def _has_lowerings(module: str) -> bool:
    from byoc.importer.table import has_lowerings_of

    return has_lowerings_of(module)


def installed_targets() -> dict[str, importlib.metadata.EntryPoint]:
    """Entry points of installed codegen packages, by target name."""
    return {e.name: e for e in importlib.metadata.entry_points(group=GROUP)}


def find_codegen(name: str) -> RegisteredCodegen:
    """The codegen of that name, importing its package if need be.

    Raises :class:`UnknownTargetError` or :class:`PluginLoadError`.
    """
    if name in _registered:
        return _registered[name]
    points = installed_targets()
    if name not in points:
        known = sorted({*_registered, *points})
        raise UnknownTargetError(
            f'there is no target "{name}"',
            did_you_mean(name, known),
            "install its package, or load it with --plugin file.py",
        )
    point = points[name]
    try:
        importlib.import_module(point.value.partition(":")[0])
    except VENDOR_FAULTS as error:
        raise PluginLoadError(
            f'target "{name}" ({point.value}) cannot be imported: {type(error).__name__}: {error}',
            f"raised at {guilty_line(error)}",
        ) from error
    if name not in _registered:
        raise PluginLoadError(f'package {point.value} does not register the target "{name}" that it promises')
    return _registered[name]


def resolve_options(registered: RegisteredCodegen, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every option of a codegen with its value, from defaults and `given` (text is converted).

    Raises :class:`OptionError`.
    """
    declared = registered.codegen.options
    for key in given:
        if key not in declared:
            raise OptionError(f'target "{registered.name}" has no option "{key}"', did_you_mean(key, declared))
    return {key: _convert(registered.name, key, option, given.get(key)) for key, option in declared.items()}


def _convert(target: str, key: str, option: Option, value: Any) -> Any:
    if value is None:
        return option.default
    wanted = type(option.default)
    try:
        if wanted is bool and isinstance(value, str):
            value = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[value.lower()]
        converted = wanted(value)
    except (ValueError, KeyError, TypeError):
        raise OptionError(
            f'option {target}.{key} is "{value}", which is no {wanted.__name__}', "", f"its default is {option.default}"
        ) from None
    if option.choices and converted not in option.choices:
        raise OptionError(
            f'option {target}.{key} cannot be "{converted}"', f"it is one of {', '.join(map(str, option.choices))}"
        )
    return converted


@dataclass(frozen=True)
class TargetInfo:
    """A target as ``byoc targets`` lists it; `reason` says why it is not available."""

    name: str
    version: str
    description: str
    options: tuple[tuple[str, Option], ...]
    available: bool
    reason: str


def list_targets() -> tuple[TargetInfo, ...]:
    """Every registered or installed target, by name."""
    infos = []
    for name in sorted({*_registered, *installed_targets()}):
        try:
            found = find_codegen(name)
            reason = unavailable(name, instance(name, found.codegen))
        except PluginError as error:
            infos.append(TargetInfo(name, "", "", (), False, error.what))
            continue
        description = (inspect.getdoc(found.codegen) or "").partition("\n")[0]
        options = tuple(sorted(found.codegen.options.items()))
        infos.append(TargetInfo(name, found.version, description, options, not reason, reason))
    return tuple(infos)
