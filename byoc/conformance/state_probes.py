"""What a compiled case with states undergoes: calls in a row, each of which finds what the ones before it left."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from byoc.conformance.build import expected, inputs_of
from byoc.conformance.case import Case
from byoc.conformance.compare import disagreement
from byoc.conformance.guard import FencedCalls, Partition
from byoc.conformance.probes import WrongError, unaligned
from byoc.llm.kv_compare import numbers_in, step_of
from byoc.ops.kv_attrs import cache_layout
from byoc.runtime import Session
from byoc.runtime.state import State

Results = list[list[np.ndarray]]
Prepare = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


def probe_states(
    case: Case, session: Session, partitions: Mapping[str, Partition], enter: Callable[[str], None]
) -> None:
    """Run every probe; `enter` is told the name of each before it begins.  Raises :class:`WrongError`."""
    trial = _Trial(case, session, enter)
    first = trial.calls("call", session.state)
    session.state.reset()
    again = trial.calls("after a reset, call", session.state)
    _require_equal(first, again, "after a reset the same calls give other results")
    before = {name: array.copy() for name, array in session.state.arrays.items()}
    other = trial.calls("on another state, call", session.new_state())
    _require_equal(first, other, "on a state of their own the same calls give other results")
    if any(not np.array_equal(before[name], array) for name, array in session.state.arrays.items()):
        raise WrongError("calls on another state changed the session's own")
    trial.calls("on inputs that are not aligned, call", session.new_state(), prepare=unaligned)
    fences = FencedCalls(partitions)
    session.set_instrument(fences)
    try:
        trial.calls("in memory of its own, call", session.new_state())
    finally:
        session.set_instrument(None)
    if fences.findings:
        raise WrongError(fences.findings[0])


def _require_equal(first: Results, again: Results, what: str) -> None:
    pairs = [(a, b) for left, right in zip(first, again, strict=True) for a, b in zip(left, right, strict=True)]
    if any(not np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs):
        raise WrongError(what)


class _Trial:
    def __init__(self, case: Case, session: Session, enter: Callable[[str], None]) -> None:
        self.case, self.session, self.enter = case, session, enter
        self.dtypes = [spec.dtype for spec in session.entry_functions[0].outputs]

    def calls(
        self,
        what: str,
        state: State,
        prepare: Prepare | None = None,
    ) -> Results:
        """Every call of the case in a row, on a state that is all zero; returns their results."""
        wanted = {name: np.zeros_like(array) for name, array in state.arrays.items()}
        every = []
        for number, sizes in enumerate(self.case.sizes):
            self.enter(f"{what} {number + 1}")
            given: Mapping[str, np.ndarray] = inputs_of(self.case, sizes, seed=number)
            arrays = prepare(given) if prepare is not None else given
            results = list(self.session.run(arrays, state=state).values())
            right = expected(self.case, given, wanted)
            for got, want, dtype in zip(results, right.arrays, self.dtypes, strict=True):
                found = disagreement(got, want, dtype, right.tolerance(dtype))
                if found:
                    raise WrongError(found)
            wanted = dict(right.states)
            self.compare_states(state, wanted, given)
            every.append(results)
        return every

    def compare_states(self, state: State, wanted: Mapping[str, np.ndarray], given: Mapping[str, np.ndarray]) -> None:
        """Caches are held against each other as numbers: an implementation may round to the neighbouring one."""
        for step in self.case.steps:
            if step.op != "byoc.kv_append":
                continue
            name = step.inputs[0]
            layout, fixed = cache_layout(dict(step.attrs))
            totals = given[step.inputs[2]] + given[step.inputs[3]]
            got, want = (numbers_in(layout, cache, totals, fixed) for cache in (state.arrays[name], wanted[name]))
            error, step_size = float(np.abs(got - want).max(initial=0.0)), step_of(layout, wanted[name], fixed)
            if not error <= step_size * 1.001:
                raise WrongError(f"the state {name} is off by {error:.3g} where one step is {step_size:.3g}")
