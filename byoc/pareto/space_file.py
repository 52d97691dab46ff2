"""A search space and the options of tasks in a readable file, TOML or YAML."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from byoc.errors import UsageError
from byoc.pareto.configuration import Configuration
from byoc.pareto.space import AXES, MixedPrecision, SearchSpace


def read_space(path: Path | None) -> tuple[SearchSpace, dict[str, dict[str, Any]]]:
    """A search space and the options of tasks, from a TOML or YAML file; the usual space without a file.

    Raises :class:`UsageError`.
    """
    if path is None:
        return SearchSpace(), {}
    values = _read(path)
    tasks = values.pop("tasks", {})
    mixed = values.pop("mixed", [])
    reference = values.pop("reference", None)
    unknown = set(values) - {*AXES, "constraints"}
    if unknown:
        known = ", ".join((*AXES, "constraints", "reference", "mixed", "tasks"))
        raise UsageError(f'{path} has an unknown entry "{min(unknown)}"', f"it may have {known}", "correct its name")
    try:
        lists: dict[str, Any] = {name: tuple(v) if isinstance(v, (list, tuple)) else (v,) for name, v in values.items()}
        made = replace(SearchSpace(), **lists, mixed=tuple(_mixed(m) for m in mixed))
        if reference is not None:
            made = replace(made, reference=Configuration.from_dict({"chunk": 256, **reference}))
        return made, {str(n): dict(o) for n, o in tasks.items()}
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise UsageError(f"{path} is no search space: {error}", "", "docs/pareto.md has an example") from None


def _mixed(values: Mapping[str, Any]) -> MixedPrecision:
    return MixedPrecision(str(values["low"]), str(values["keep"]), tuple(int(n) for n in values.get("layers", (1, 2))))


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read", str(error), "name a TOML or YAML file") from None
    try:
        if path.suffix in (".yaml", ".yml"):
            import yaml

            found = yaml.safe_load(text)
        else:
            toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
            found = toml.loads(text)
    except ImportError as error:
        raise UsageError(f"{path} cannot be read: {error}", "", 'pip install "byoc[pareto]"') from None
    except Exception as error:  # the parsers' own errors have no common base
        raise UsageError(f"{path} is malformed: {error}", "", "correct the file") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path} holds no entries", "", "docs/pareto.md has an example")
    return found
