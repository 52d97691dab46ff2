"""The table of cases that every codegen meets, whatever its patterns are."""

from __future__ import annotations

from functools import cache

from byoc.conformance.case import Case


@cache
def op_cases() -> tuple[Case, ...]:
    """Every case about a single op, by family."""
    from byoc.conformance.cases import activation, elementwise, index, linear, normalize, pool, quantize, reduce, shape

    families = (elementwise, activation, shape, index, reduce, normalize, linear, pool, quantize)
    cases = tuple(case for family in families for case in family.CASES)
    names = [case.name for case in cases]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ValueError(f"two cases are called {doubled[0]}")
    return cases
