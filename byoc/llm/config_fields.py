"""Fields of a ``config.json``, none of which is believed before its type and its range are seen."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from byoc.errors import ModelFileError, UnsupportedModelError

_DOWNLOAD = "download the model again"


def read_fields(path: Path) -> Fields:
    """The object that a JSON file holds.  Raises :class:`ModelFileError` where it is missing or holds none."""
    try:
        values = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ModelFileError(
            f"{path} cannot be read: {error.strerror}", "a model's folder has one", "name the folder of the model"
        ) from None
    except ValueError as error:
        raise ModelFileError(f"{path} is not JSON: {error}", "", _DOWNLOAD) from None
    except RecursionError:
        raise ModelFileError(f"{path} nests brackets too deep", "it is damaged", _DOWNLOAD) from None
    if not isinstance(values, dict):
        raise ModelFileError(f"{path} holds no JSON object", "", _DOWNLOAD)
    return Fields(path, values)


class Fields:
    """A JSON object of a file; its fields are asked for by type, ``null`` counts as missing.

    All raise :class:`ModelFileError` for a field of another type, or for one that is missing and has no default.
    """

    def __init__(self, path: Path, values: Mapping[str, Any], within: str = "") -> None:
        self._path, self._values, self._within = path, values, within

    def __contains__(self, name: str) -> bool:
        return self._values.get(name) is not None

    @property
    def names(self) -> list[str]:
        """All fields."""
        return list(self._values)

    def has(self, name: str) -> bool:
        """Whether the field is there, be it ``null``."""
        return name in self._values

    def whole(self, name: str, default: int | None = None, *, least: int = 1, most: int = 2**40) -> int:
        """A whole number.  Raises :class:`UnsupportedModelError` outside of [least, most]."""
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value // 1:
            raise self._wrong(name, value, "a whole number")
        if not least <= value <= most:
            raise self._outside(name, value, f"byoc builds models with {least:,} to {most:,}")
        return int(value)

    def number(self, name: str, default: float | None = None, *, least: float = 0.0, above: bool = False) -> float:
        """A finite number.  Raises :class:`UnsupportedModelError` below `least`, or at it where it must be `above`."""
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._wrong(name, value, "a number")
        if not abs(value) < 1e30 or value < least or (above and value == least):
            raise self._outside(name, value, f"a finite number {'above' if above else 'from'} {least:g} belongs there")
        return float(value)

    def numbers(self, name: str) -> tuple[float, ...]:
        """A list of finite numbers."""
        value = self._value(name, None)
        if not isinstance(value, list) or not all(type(v) in (int, float) and math.isfinite(v) for v in value):
            raise self._wrong(name, value, "a list of finite numbers")
        return tuple(float(v) for v in value)

    def ids(self, name: str) -> tuple[int, ...]:
        """Token ids, one or a list; none where the field is missing."""
        value = self._values.get(name)
        found = value if isinstance(value, list) else [] if value is None else [value]
        if not all(type(v) is int and 0 <= v < 2**40 for v in found):
            raise self._wrong(name, value, "token ids")
        return tuple(found)

    def flag(self, name: str, default: bool = False) -> bool:
        """true or false."""
        value = self._value(name, default)
        if not isinstance(value, bool):
            raise self._wrong(name, value, "true or false")
        return value

    def text(self, name: str, default: str | None = None) -> str:
        """A text."""
        value = self._value(name, default)
        if not isinstance(value, str):
            raise self._wrong(name, value, "a text")
        return value

    def texts(self, name: str, default: Sequence[str] | None = None) -> tuple[str, ...]:
        """A list of texts."""
        value = self._value(name, default)
        if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(v, str) for v in value):
            raise self._wrong(name, value, "a list of texts")
        return tuple(value)

    def inner(self, name: str) -> Fields | None:
        """An object in this one; None where there is none, or an empty one."""
        value = self._values.get(name)
        if value is None or value == {}:
            return None
        if not isinstance(value, dict):
            raise self._wrong(name, value, "an object")
        return Fields(self._path, value, f"{self._within}{name}.")

    def _value(self, name: str, default: Any) -> Any:
        value = self._values.get(name)
        if value is not None:
            return value
        if default is None:
            raise ModelFileError(
                f'{self._path} has no field "{self._within}{name}"',
                "the graph cannot be built without it",
                "use the config.json that belongs to the checkpoint",
            )
        return default

    def _wrong(self, name: str, value: Any, wanted: str) -> ModelFileError:
        return ModelFileError(
            f'{self._path}: "{self._within}{name}" is {_shown(value)}', f"{wanted} belongs there", _DOWNLOAD
        )

    def _outside(self, name: str, value: Any, why: str) -> UnsupportedModelError:
        return UnsupportedModelError(f'{self._path}: "{self._within}{name}" is {_shown(value)}', why)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
