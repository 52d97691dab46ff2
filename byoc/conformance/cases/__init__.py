"""The table of cases that every codegen meets, whatever its patterns are."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from byoc.conformance.case import Case

_FAMILIES = (
    "elementwise", "activation", "shape", "create", "index", "reduce", "normalize", "linear", "pool", "quantize",
    "integer", "language", "kv_cache",
)  # fmt: skip


@cache
def op_cases() -> tuple[Case, ...]:
    """Every case about a single op, by family."""
    families = [import_module(f"{__name__}.{name}") for name in _FAMILIES]
    cases = tuple(case for family in families for case in family.CASES)
    names = [case.name for case in cases]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ValueError(f"two cases are called {doubled[0]}")
    return cases
