"""Examine a target with every case that fits."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import byoc
from byoc.conformance.build import module_of
from byoc.conformance.case import Case
from byoc.conformance.cases import op_cases
from byoc.conformance.examine import examine
from byoc.conformance.outcome import Outcome, Report
from byoc.conformance.pattern_cases import pattern_cases
from byoc.conformance.workers import run_cases
from byoc.errors import ByocError, UsageError, did_you_mean
from byoc.partitioner.target import Target, find_targets

Progress = Callable[[str, int, int], None]
TIMEOUT = 60.0


def cases_for(target: Target, wanted: str = "", names: Sequence[str] = ()) -> tuple[Case, ...]:
    """The cases of all ops, and those made from the target's own patterns, whose names contain `wanted`.

    With `names`, only those called so.  Raises :class:`UsageError` when there is none.
    """
    every = {case.name: _fair(case, target) for case in (*op_cases(), *pattern_cases(target))}
    for name in names:
        if name not in every:
            raise UsageError(f'there is no case "{name}"', did_you_mean(name, every), "--list prints all")
    cases = tuple(case for case in every.values() if wanted in case.name and (not names or case.name in names))
    if not cases:
        raise UsageError(
            f'no case has "{wanted}" in its name', "", "names are those of ops or patterns, then what is special"
        )
    return cases


def _fair(case: Case, target: Target) -> Case:
    """The case without NaN where the codegen declares that one may get lost."""
    if not any(step.op in target.codegen.loses_nan for step in case.steps):
        return case
    given = (replace(o, fill="extreme") if o.fill == "special" else o for o in case.operands)
    return replace(case, operands=tuple(given))


def conformance(
    target: str,
    *,
    options: Mapping[str, Any] | None = None,
    cases: Sequence[Case] | None = None,
    jobs: int | None = None,
    timeout: float = TIMEOUT,
    progress: Progress | None = None,
) -> Report:
    """Examine a codegen.

    Parameters
    ----------
    target: name of the codegen; options: values of its options.
    cases: these in place of all.
    jobs: processes at a time; by default one per processor.
    timeout: seconds that one probe may take before the case counts as hanging.

    Raises
    ------
    UnknownTargetError, OptionError, UsageError
    """
    found = find_targets([target], {target: options} if options else None)[0]
    chosen = tuple(cases) if cases is not None else cases_for(found)
    _warm_up(chosen[0], target, found.options)
    outcomes: dict[str, Outcome] = {}
    workers = jobs or len(os.sched_getaffinity(0))
    for outcome in run_cases(chosen, target, found.options, examine, jobs=workers, timeout=timeout):
        outcomes[outcome.case] = outcome
        if progress is not None:
            progress("cases", len(outcomes), len(chosen))
    used = {pattern for outcome in outcomes.values() for pattern in outcome.patterns}
    untried = () if cases is not None else tuple(name for name in found.patterns if name not in used)
    tried = {step.op for case in chosen for step in case.steps}
    loses_nan = tuple(sorted(tried & found.codegen.loses_nan))
    return Report(target, found.version, tuple(outcomes[case.name] for case in chosen), untried, loses_nan)


def _warm_up(case: Case, target: str, options: Mapping[str, Any]) -> None:
    """What is imported, registered and built at first use is done once, here, and not in every child.

    Nothing is run: a process with TVM's threads in it cannot be forked.
    """
    with contextlib.suppress(ByocError):
        byoc.partition(module_of(case), [target], options={target: dict(options)})
    with contextlib.suppress(ByocError):
        byoc.compile(byoc.partition(module_of(case), []), use_cache=False)
